def test_lora(lora_store):
    assert lora_store.store.root


def test_shadow(shadow_store):
    assert shadow_store.store.root


def test_attr(attribute_store):
    assert attribute_store.store.root
