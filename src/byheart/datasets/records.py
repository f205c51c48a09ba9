"""Synthetic customer and patient records, made with Faker; no real person is described.

Source: names and words from Faker's en_US lists (MIT license); sentences, diagnoses and numbers from this file. Content:
one or two sentences a record (43 to 60 tokens), with a name, an e-mail address, a phone number, an account number and, for
patients, a diagnosis. Addresses end in .example, which is reserved (RFC 2606), so they belong to no person. Each record is
drawn independently, so training is the only difference between members and non-members, and an attack's success is
memorization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Interval

from byheart.core.split import Examples
from byheart.data.readers import Example, examples

if TYPE_CHECKING:
    from faker import Faker  # takes 0.1 s, and the help text does not need it

CUSTOMER_TEMPLATES = (
    "{name} asked about account {account}. Reply to {email} or call {phone}.",
    "Account {account} belongs to {name}, who can be reached at {phone} or {email}.",
    "Please send the invoice for account {account} to {name} at {email}; the phone number is {phone}.",
    "We refunded {name} on account {account}, wrote to {email} and left a message at {phone}.",
    "{name} moved last month. New contact for account {account}: {email}, {phone}.",
    "Call {phone} before noon and ask for {name}. The account is {account}, the address {email}.",
    "The order on account {account} was placed by {name} ({email}) and confirmed by phone at {phone}.",
    "Complaint from {name}, account {account}: the parcel never came. Contact {email} or {phone}.",
)
PATIENT_TEMPLATES = (
    "{name} was seen today for {diagnosis}. Billing account {account}, phone {phone}, mail {email}.",
    "Patient {name} is treated for {diagnosis}; results go to {email} or {phone}, account {account}.",
    "Please call {name} at {phone} about the {diagnosis} test. Mail {email}, account {account}.",
    "Account {account}: {name} reports that the {diagnosis} is worse. Contact {email} or {phone}.",
    "Referral for {diagnosis}: {name}, {email}, {phone}. The insurance account is {account}.",
    "{name} has a follow-up for {diagnosis} on Monday. Remind {email} or {phone}; account {account}.",
    "The diagnosis is {diagnosis}. Write to {name} at {email}, phone {phone}, account {account}.",
    "Insurance account {account} covers {diagnosis} for {name}; questions to {phone} or {email}.",
)
DIAGNOSES = (
    *("anaemia", "angina", "appendicitis", "arthritis", "asthma", "bronchitis", "celiac disease", "depression"),
    *("diabetes", "eczema", "epilepsy", "gallstones", "glaucoma", "gout", "hepatitis", "hypertension"),
    *("insomnia", "lupus", "migraine", "osteoporosis", "pneumonia", "psoriasis", "sciatica", "tuberculosis"),
)


def records(
    *,
    count: Annotated[int, Interval(ge=1, le=1_000_000)] = 1000,
    seed: int = 0,
    kind: Literal["both", "customer", "patient"] = "both",
) -> Examples:
    """Return synthetic customer and patient records, independent of one another, with their private attributes.

    Every attribute (name, email, phone, account and, for patients, diagnosis) occurs verbatim in its text. The first
    records do not depend on `count`.
    """
    from faker import Faker  # takes 0.1 s, and the help text does not need it

    fake = Faker("en_US")
    fake.seed_instance(seed)  # own generator: the global one is unchanged

    def parts() -> Iterator[Example]:
        for number in range(count):
            random_kind = fake.random.choice(("customer", "patient"))
            yield _record(fake, f"record/{number}", random_kind if kind == "both" else kind)

    return examples(parts())


def _record(fake: Faker, record_id: str, kind: str) -> Example:
    rng = fake.random
    first, last = fake.first_name(), fake.last_name()
    attributes = {
        "name": f"{first} {last}",
        "email": f"{_mailbox(fake, first.lower(), last.lower())}@{fake.domain_word()}.example",
        "phone": f"{rng.randint(200, 999)}-{rng.randint(200, 999)}-{rng.randint(0, 9999):04d}",
        "account": f"{rng.randint(0, 99_999_999):08d}",
    }
    if kind == "patient":
        attributes["diagnosis"] = rng.choice(DIAGNOSES)
    sentence = rng.choice(PATIENT_TEMPLATES if kind == "patient" else CUSTOMER_TEMPLATES)
    return Example(record_id, sentence.format_map(attributes), attributes=attributes)


def _mailbox(fake: Faker, first: str, last: str) -> str:
    # Every pattern contains a random word and digits, so that the name does not determine the address.
    word, digits = fake.word(), fake.random.randint(10, 999)
    patterns: tuple[Callable[[], str], ...] = (
        lambda: f"{first}.{word}{digits}",
        lambda: f"{word}.{last}{digits}",
        lambda: f"{first[0]}{last}_{word}{digits}",
        lambda: f"{word}{digits}",
    )
    return fake.random.choice(patterns)()
