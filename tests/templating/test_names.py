"""Names of people: the given name to greet with, or none; and names in name case."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sender.templating import names
from sender.templating.filters import FILTERS
from sender.templating.names import first_name, name_case
from sender.templating.render_columns import render
from sender.templating.template import compile_template


@pytest.mark.parametrize(
    ("full", "first"),
    [
        # titles, several people
        ("Mr and Mrs John Doe", "John"), ("Mr. & Mrs. Smith", None), ("Dr and Mrs Smith", None), ("Mr. Smith", None),
        ("St. John Smith", "John"), ("Prof. Dr. Hans Müller", "Hans"), ("Dr. med. Anna Schmidt", "Anna"),
        ("Dr.-Ing. Karl Weber", "Karl"), ("Frau Schmidt", None), ("Herr Dr. Klaus", None), ("Mme Dupont", None),
        ("Mlle Claire Dupont", "Claire"), ("Señor José Pérez", "José"), ("Sra. María López", "María"),
        ("Dott. Mario Rossi", "Mario"), ("Ing. Petr Novák", "Petr"), ("Lt. Col. Tom Hall", "Tom"),
        ("Hon. Jane Roe", "Jane"), ("Sir Elton John", "Elton"), ("Sister Mary", "Mary"), ("Mrs.", None), ("Dr.", None),
        ("John and Jane Doe", "John and Jane"), ("John & Jane", "John & Jane"), ("Mr John Doe & Mrs Jane Doe", "John"),
        # order and suffixes
        ("Lovelace, Ada", "Ada"), ("Doe, John, Jr.", "John"), ("Smith, Dr. John", "John"), ("Doe, Mr. John Q.", "John"),
        ("van der Berg, Jan", "Jan"), ("John Smith Jr.", "John"), ("JOSE II", "Jose"), ("John Smith III", "John"),
        ("John Smith 3rd", "John"), ("Jane Doe MD PhD", "Jane"), ("Mrs Jane Doe, MD", "Jane"),
        # initials and abbreviations
        ("J. R. R. Tolkien", None), ("J.R. EWING", None), ("J Smith", None), ("J", None), ("F. Scott Fitzgerald", None),
        ("Doe, J.", None), ("Wm. Shakespeare", None), ("HRH Charles", None), ("H.E. Ban Ki-moon", None),
        ("John F. Kennedy", "John"), ("Md. Rahim Uddin", "Rahim"), ("Ma. Cristina Santos", "Cristina"),
        # particles and compounds
        ("Ludwig van Beethoven", "Ludwig"), ("Van Morrison", "Van"), ("de la Cruz", None), ("Le Roy Brown", "Le"),
        ("Juan de Dios Pérez", "Juan"), ("María de los Ángeles Pérez", "María"), ("Mary-Jane Watson", "Mary-Jane"),
        ("Abdul Rahman", "Abdul Rahman"), ("Abdul Karim Khan", "Abdul Karim"), ("Abu Bakr Siddiq", "Abu Bakr"),
        ("Abd al-Rahman", "Abd al-Rahman"), ("Mohammed bin Salman", "Mohammed"), ("Sean O'Brien", "Sean"),
        # words that are titles to some, and names
        ("Dean Martin", "Dean"), ("Earl Grey", "Earl"), ("Major Smith", "Major"), ("Marshall Mathers", "Marshall"),
        ("Al Pacino", "Al"), ("Ali Khan", "Ali"), ("Rose Dean", "Rose"), ("Bill Nurse", "Bill"), ("Ed Md", "Ed"),
        # nicknames
        ('Robert "Bob" Jones', "Robert"), ("John (Jack) Smith", "John"), ("(Bob) Jones", None),
        # other scripts and orders
        ("王小明", "王小明"), ("김민수", "민수"), ("山田 太郎", "太郎"), ("Мария Иванова", "Мария"),
        ("Иванов Иван Иванович", "Иван"), ("Ivanov Ivan Ivanovich", "Ivan"), ("Anna Petrovna Sidorova", "Anna"),
        ("Αλέξανδρος Παπαδόπουλος", "Αλέξανδρος"), ("محمد علي", "محمد"), ("ÅSE Å", "Åse"),
        # no person
        ("The Smith Family", None), ("Familie Müller", None), ("Smith & Sons", None), ("Acme GmbH", None),
        ("Mr Ltd", None), ("The Estate of John Doe", None), ("info@example.com", None), ("c/o John Smith", None),
        ("Apt 5 Smith", None), ("-", None), ("123", None), (",", None), ("?", None),
    ],
)  # fmt: skip
def test_hard_names(full: str, first: str | None) -> None:
    assert first_name(full) == first


@pytest.mark.parametrize("full", ["Mr. Smith", "J. R. R. Tolkien", "Acme GmbH", ","])
def test_where_there_is_none_default_acts(full: str) -> None:
    cells = pl.DataFrame({"a": [full, "ADA LOVELACE", ""]})
    template = compile_template('Hi {{ a | first_name | default("there") }}', where="t")
    assert render(template, cells, {"a": "a"})["text"].to_list() == ["Hi there", "Hi Ada", "Hi there"]
    [failed, good, _] = render(compile_template("Hi {{ a | first_name }}", where="t"), cells, {"a": "a"}).rows()
    assert failed[:2] == (None, "render_error")
    assert f"`{full}` has no first name to greet with" in failed[2]
    assert good[0] == "Hi Ada"


# Words of many kinds, of which the plain way must take none for plain that the parser reads otherwise.
WORDS = st.sampled_from(
    [
        *sorted(names._special_words(), key=lambda word: (len(word), word))[::7],
        "Ada", "JOHN", "maria", "O'Brien", "Jean-Luc", "Müller", "Łucja", "Smith", "Ivanovich", "Petrovna", "Milić", "Popovic",
        "Le", "Van", "Mc", "Dean", "Mac", "Fitz", "Nic", "Ben", "Rose", "Major", "Ann", "née", "Abdul", "Abu",
    ]
)  # fmt: skip


@given(st.lists(WORDS, min_size=1, max_size=3).map(" ".join))
@example("großfürst")
@example("Großfürst Ada")
def test_a_plain_name_is_read_as_the_parser_reads_it(text: str) -> None:
    if names._is_plain(text):
        assert names._find_given(text) == text.split(maxsplit=1)[0]


@given(st.text(max_size=30))
def test_any_text_has_a_first_name_or_none(text: str) -> None:
    first = first_name(text)
    assert first is None or (first.strip() == first != "" and first.casefold().split()[0] in text.casefold())


@pytest.mark.parametrize(
    ("written", "cased"),
    [
        ("JOSE II", "Jose II"), ("henry viii", "Henry VIII"), ("JOHN QUINCY ADAMS III", "John Quincy Adams III"),
        ("JOHN SMITH MD", "John Smith MD"), ("JANE DOE PHD, RN", "Jane Doe PhD, RN"), ("JANE DOE, PHD", "Jane Doe, PhD"),
        ("JANE DOE PH.D.", "Jane Doe Ph.D."), ("MARTIN LUTHER KING, JR", "Martin Luther King, Jr"),
        ("MD RAHIM", "Md Rahim"), ("john smith 3rd", "John Smith 3rd"), ("VAN LE", "Van Le"), ("ANNA DO", "Anna Do"),
        ("AMIT DAS", "Amit Das"), ("MARIA VON TRAPP", "Maria von Trapp"), ("GERARD 'T HOOFT", "Gerard 't Hooft"),
        ("VI NGUYEN", "Vi Nguyen"), ("ORTEGA Y GASSET", "Ortega y Gasset"), ("Jose II", "Jose II"),
    ],
)  # fmt: skip
def test_suffixes_and_particles_in_name_case(written: str, cased: str) -> None:
    assert name_case(written) == cased
    assert FILTERS["name_case"](written) == cased
