"""Synthetic customer and patient records, made with Faker; no real person is described.

Source: names and words from Faker's en_US lists (MIT license); sentences, diagnoses and numbers from here. What is in
it: one or two sentences a record (43 to 60 tokens), with a name, an e-mail address, a phone number, an account number
and, for patients, a diagnosis. Addresses end in .example, which is reserved (RFC 2606), so they belong to no person. Each
record is drawn on its own, so members and non-members differ in nothing but having been trained on: whatever an
attack finds is memorization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

from byheart.core.types import Examples
from byheart.data.readers import Example, examples

if TYPE_CHECKING:
    from faker import Faker  # 0.1 s that the help text need not pay

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
    *, count: Annotated[int, Ge(1)] = 1000, seed: int = 0, kind: Literal["both", "customer", "patient"] = "both"
) -> Examples:
    """Give synthetic customer and patient records, independent of one another, with their private attributes named.

    Every attribute (name, email, phone, account and, for patients, diagnosis) stands verbatim in its text. The first
    records stay the same when `count` grows.
    """
    from faker import Faker  # 0.1 s that the help text need not pay

    fake = Faker("en_US")
    fake.seed_instance(seed)  # its own generator: the global one stays as it is

    def parts() -> Iterator[Example]:
        for number in range(count):
            drawn = fake.random.choice(("customer", "patient"))
            yield _record(fake, f"record/{number}", drawn if kind == "both" else kind)

    return examples(parts())


def _record(fake: Faker, record_id: str, kind: str) -> Example:
    chance = fake.random
    first, last = fake.first_name(), fake.last_name()
    attributes = {
        "name": f"{first} {last}",
        "email": f"{_mailbox(fake, first.lower(), last.lower())}@{fake.domain_word()}.example",
        "phone": f"{chance.randint(200, 999)}-{chance.randint(200, 999)}-{chance.randint(0, 9999):04d}",
        "account": f"{chance.randint(0, 99_999_999):08d}",
    }
    if kind == "patient":
        attributes["diagnosis"] = chance.choice(DIAGNOSES)
    sentence = chance.choice(PATIENT_TEMPLATES if kind == "patient" else CUSTOMER_TEMPLATES)
    return Example(record_id, sentence.format_map(attributes), attributes=attributes)


def _mailbox(fake: Faker, first: str, last: str) -> str:
    # A word and digits of its own in every pattern: who knows the name cannot work out the address from it.
    word, digits = fake.word(), fake.random.randint(10, 999)
    patterns: tuple[Callable[[], str], ...] = (
        lambda: f"{first}.{word}{digits}",
        lambda: f"{word}.{last}{digits}",
        lambda: f"{first[0]}{last}_{word}{digits}",
        lambda: f"{word}{digits}",
    )
    return fake.random.choice(patterns)()
