"""Headers as CRMs, shops and address books write them: what each says of the number, the country and consent."""

from __future__ import annotations

import pytest

from sender.recipients.headers import (
    PhoneHeader,
    is_mobile,
    names_calling_code,
    names_country,
    phone_header,
    rank_country,
    words,
)

# What a header says, by where it comes from.
SURE = {
    "plain": "to|phone|Phone|PHONE|phone_number|Phone-Number|Phone #|Phone No.|phone1|Phone 2|Phone(s)|tel|Tel.|Tel #"
    "|Telephone|telephone number|cell|Cell #|CELL PHONE|cellphone|Cell Number|Mobile|Mobile #|Mobile No|Mobile No."
    "|mobile\nnumber|Mob.|MSISDN|Phone/Mobile|Phone (Mobile)|Phone (with country code)|Phone (E.164)|Phone (e.g. +1 202)"
    "|Contact Phone|Customer Phone|Patient Cell|Member Mobile|Lead Phone|Primary Phone|Preferred Phone Number",
    "Salesforce": "Phone|MobilePhone|HomePhone|OtherPhone|Mobile Phone|Home Phone|Other Phone|Phone_Number__c"
    "|MobilePhone__c",
    "HubSpot": "Phone Number|Mobile Phone Number|mobilephone|WhatsApp Phone Number",
    "Mailchimp": "Phone Number|SMS Phone Number",
    "Shopify": "Phone|Default Address Phone|Shipping Phone|Billing Phone",
    "Google": "Phone 1 - Value|Phone 2 - Value",
    "Outlook": "Mobile Phone|Business Phone|Business Phone 2|Home Phone|Home Phone 2|Primary Phone|Other Phone",
    "Zoho": "Phone|Mobile|Home Phone|Other Phone",
    "German": "Telefon|Telefonnummer|Telefon-Nr.|Tel.-Nr.|Handy|Handynummer|Handy-Nr.|Mobil|Mobilnummer|Mobiltelefon"
    "|Mobilfunknummer|Mobil privat|Telefon privat|Telefon (geschäftlich)|Telefon mobil|Rufnummer|Natel",
    "French": "Téléphone|Tél.|Tél. portable|Téléphone portable|Portable|Mobile|N° de téléphone|Numéro de téléphone"
    "|Numéro de portable|GSM|TELEPHONE",
    "Spanish": "Teléfono|Teléfono móvil|Móvil|Celular|Número de celular|Número de teléfono|Tel. móvil",
    "Italian": "Telefono|Telefono cellulare|Cellulare|Numero di telefono|Numero di cellulare|Cell.",
    "Portuguese": "Telefone|Telemóvel|Celular|Número de telemóvel|Número do celular|Telefone celular",
    "Dutch": "Telefoon|Telefoonnummer|Mobiel|Mobiel nummer|Mobiele telefoon|GSM-nummer|Mobiel telefoonnummer",
    "others": "Телефон|Номер телефона|电话|手机|手机号码|電話番号|携帯電話|전화번호|Ｐｈｏｎｅ",
}
LIKELY = "Number|No.|Nr.|#|Nummer|Numéro|Contact Number|Contact No.|SMS Number|Text Number|WhatsApp Number|HP No.|Car Phone|Phone (checked)"
OTHER = (
    "Fax|Business Fax|Home Fax|Telefax|Festnetz|Festnetznummer|Landline|Pager|AssistantPhone|Assistant's Phone|Asst. Phone"
    "|Emergency Phone|Emergency Contact Phone|Company Main Phone|Company Phone|Account Phone|Spouse Mobile|Parent Phone"
    "|Manager Phone|Téléphone fixe|Teléfono fijo|Telefone fixo|Telefono fisso|Vaste telefoon"
)
NONE = (
    "Name|First Name|E-mail 1 - Value|Phone 1 - Type|Phone 1 - Label|Phone Type|Phone Country Code|Country Code|Phone Extension"
    "|Phone Verified|Phone Carrier|Mobile Opt-In|Phone consent|Has Phone|Last Phone Call|Do Not Call|Phone ID|iPhone Model"
    "|Mobile App Version|Mobile Device|House Number|Hausnummer|Order Number|Customer Number|Kundennummer|Number of Guests"
    "|Account No.|Contact|Contact ID|Text|SMS|WhatsApp|Accepts SMS Marketing|Hotel|Telegram|Fone|Zip|Amount|column 3|12|"
)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        *[(header, PhoneHeader.SURE) for headers in SURE.values() for header in headers.split("|")],
        *[(header, PhoneHeader.LIKELY) for header in LIKELY.split("|")],
        *[(header, PhoneHeader.OTHER) for header in OTHER.split("|")],
        *[(header, PhoneHeader.NONE) for header in NONE.split("|")],
    ],
)
def test_what_a_header_says_of_phone_numbers(header, says):
    assert phone_header(header) is says


@pytest.mark.parametrize(
    ("header", "split"),
    [
        ("MobilePhone", ("mobile", "phone")),
        ("SMSPhoneNumber", ("sms", "phone", "number")),
        ("Phone2", ("phone", "2")),
        ("Téléphone", ("telephone",)),
        ("Mobile #", ("mobile", "#")),
        ("Phone_Number__c", ("phone", "number")),
        ("WhatsApp", ("whatsapp",)),
        ("Phone (E.164)", ("phone", "e164")),
        ("  ", ()),
    ],
)
def test_words(header, split):
    assert words(header) == split


@pytest.mark.parametrize(
    ("header", "mobile"),
    [("Handy-Nr.", True), ("Mobilnummer", True), ("Phone", False), ("Tel.", False), ("SMS Phone", True)],
)
def test_mobile_ones_are_proposed_first(header, mobile):
    assert is_mobile(header) is mobile


COUNTRY = (
    "country|Country|Country/Region|MailingCountry|Mailing Country|Country Code|CountryCode|Country (Primary)|Country Name"
    "|Shipping Country|Billing Country Code|Default Address Country Code|Home Country/Region|Business Country/Region"
    "|Other Country|Address 1 - Country|Phone Country Code|Land|Pays|País|Paese|Nazione|Country ISO2|country_code"
    "|Country of residence"
)
NO_COUNTRY = (
    "Country of Birth|Birth Country|Company Country|Region|State|Nationality|County|Landline|Landing page|Bundesland"
    "|Countries visited"
)


@pytest.mark.parametrize(
    ("header", "is_one"),
    [*[(header, True) for header in COUNTRY.split("|")], *[(header, False) for header in NO_COUNTRY.split("|")]],
)
def test_what_a_header_says_of_the_country(header, is_one):
    assert names_country(header) is is_one


@pytest.mark.parametrize(
    ("phone", "headers", "nearest"),
    [
        ("Shipping Phone", ["Billing Country", "Shipping Country"], ["Shipping Country"]),
        ("Home Phone", ["Business Country/Region", "Home Country/Region"], ["Home Country/Region"]),
        ("Phone", ["Mailing Country", "Country"], ["Country"]),
        ("Phone", ["Country", "Phone Country Code"], ["Phone Country Code"]),
        ("Phone", ["Shipping Country", "Billing Country"], ["Shipping Country", "Billing Country"]),
        ("Phone", ["Country", "Country Code"], ["Country", "Country Code"]),
    ],
)
def test_which_country_is_nearest_to_the_number(phone, headers, nearest):
    ranks = {header: rank_country(header, phone) for header in headers}
    assert [header for header in headers if ranks[header] == max(ranks.values())] == nearest


@pytest.mark.parametrize(("header", "code"), [("Country Code", True), ("Country", False), ("Vorwahl Land", True)])
def test_digits_under_a_header_of_codes_are_calling_codes(header, code):
    assert names_calling_code(header) is code
