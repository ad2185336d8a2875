"""Files of people, taken in while no hub runs."""

import csv

import pytest


def profile(esplanade, email):
    return esplanade("explain", email, "--json").json["profile"]


def rejected(path):
    with path.with_name(path.name + ".rejected.csv").open(
        encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        return list(csv.DictReader(file))


def test_columns_become_fields_consents_and_audiences(esplanade, project):
    path = project.write(
        "people.csv",
        "email,id,firstname,ltv,consent:newsletter,consent:service,audience:vip,audience:churn-risk\r\n"
        "ada@example.com,u-1,Ada,0012.50,yes,denied,1,\r\n"
        "bob@example.com,,,,,,no,true\r\n",
    )
    ended = esplanade("import", str(path))
    assert ended.code == 0
    assert ended.out.split() == ["rows", "accepted", "rejected", "2", "2", "0"]
    ada = profile(esplanade, "ada@example.com")
    assert (ada["id"], ada["fields"], ada["audiences"]) == (
        "u-1",
        {"firstname": "Ada", "ltv": "0012.50"},
        {"vip": True},
    )
    assert {name: one["state"] for name, one in ada["consents"].items()} == {
        "newsletter": "granted",
        "service": "denied",
    }
    assert ada["consents"]["newsletter"]["method"] == "import"
    assert profile(esplanade, "bob@example.com")["audiences"] == {"churn-risk": True, "vip": False}


def test_bad_rows_go_to_a_file_with_their_reason_and_can_be_mended_there(esplanade, project):
    path = project.write(
        "people.csv",
        b"email;firstname;consent:newsletter\nada@example.com;Ada;granted\nnobody;No;\nbob@example.com;B\xf6b;\n"
        b"eve@example.com;Eve;maybe\nshort@example.com\n",
    )
    ended = esplanade("import", str(path), "--json")
    assert ended.code == 0
    assert ended.json == {"rows": 5, "accepted": 1, "rejected": 4, "rejected_file": f"{path}.rejected.csv"}
    rows = {row["line"]: (row["reason"], row["email"]) for row in rejected(path)}
    assert rows["3"][0].startswith("email: not an e-mail address")
    assert rows["4"] == ("firstname: not UTF-8; save the file as UTF-8", "bob@example.com")
    assert rows["5"] == ("consent:newsletter: 'maybe' is not granted, denied or pending", "eve@example.com")
    assert rows["6"] == ("has 1 cells where the header has 3", "short@example.com")
    mended = path.with_name("people.csv.rejected.csv")
    mended.write_bytes(
        mended.read_bytes()
        .replace(b"B\xf6b", b"Bob")
        .replace(b"maybe", b"no")
        .replace(b",nobody,", b",no@example.com,")
    )
    again = esplanade("import", str(mended), "--json").json
    assert (again["accepted"], again["rejected"]) == (3, 1)
    assert profile(esplanade, "bob@example.com")["fields"] == {"firstname": "Bob"}


def test_the_same_file_again_changes_nothing_but_another_mapping_does(esplanade, project):
    path = project.write("people.csv", "email,name\nada@example.com,Ada\n")
    esplanade("import", str(path))
    esplanade("send", "profile", "--email", "ada@example.com", "--field", "name=Countess")
    assert esplanade("import", str(path), "--json").json["accepted"] == 1
    assert profile(esplanade, "ada@example.com")["fields"] == {"name": "Countess"}
    esplanade("import", str(path), "--map", "name=firstname")
    assert profile(esplanade, "ada@example.com")["fields"] == {"name": "Countess", "firstname": "Ada"}


def test_no_old_rejected_file_is_left_when_all_rows_are_good(esplanade, project):
    path = project.write("people.csv", "email\nnobody\nada@example.com\n")
    esplanade("import", str(path))
    assert rejected(path)
    path.write_text("email\nada@example.com\n")
    esplanade("import", str(path))
    assert not path.with_name("people.csv.rejected.csv").exists()


def test_ndjson_takes_columns_and_the_shape_of_the_http_api(esplanade, project):
    path = project.write(
        "people.ndjson",
        '{"email": "ada@example.com", "ltv": 12.5, "consent:newsletter": "granted", "audience:vip": true}\n\n'
        '{"email": "bob@example.com", "fields": {"tags": ["a"]}, "at": "2026-01-15T10:00:00Z"}\n'
        '{"email": \n[1]\n',
    )
    ended = esplanade("import", str(path), "--json")
    assert (ended.json["accepted"], ended.json["rejected"]) == (2, 2)
    assert [row["line"] for row in rejected(path)] == ["4", "5"]
    assert rejected(path)[0]["row"] == '{"email":'
    assert profile(esplanade, "ada@example.com")["fields"] == {"ltv": 12.5}
    assert profile(esplanade, "bob@example.com")["fields"] == {"tags": ["a"]}


def test_a_file_of_sparkloop(esplanade, project):
    path = project.write(
        "sparkloop.csv",
        "Email,Name,Registration Date,IP Address,Referrer,Source\n"
        "ada@example.com,Ada Lovelace,31/12/2025 23:59,192.0.2.1,abc123,footer\n"
        "bob@example.com,Bob,2025-12-31,,,\n",
    )
    ended = esplanade("import", str(path), "--from", "sparkloop", "--map", "Source=origin", "--json")
    assert (ended.json["accepted"], ended.json["rejected"]) == (1, 1)
    assert rejected(path)[0]["reason"].startswith(
        "Registration Date: '2025-12-31' is not readable; expected DD/MM/YYYY"
    )
    assert profile(esplanade, "ada@example.com")["fields"] == {
        "name": "Ada Lovelace",
        "registration_date": "2025-12-31T23:59",
        "ip_address": "192.0.2.1",
        "referrer": "abc123",
        "origin": "footer",
    }


def test_an_import_never_lifts_a_denial(esplanade, project):
    path = project.write("people.csv", "email,consent:newsletter\nada@example.com,granted\n")
    esplanade("send", "consent", "--email", "ada@example.com", "--purpose", "newsletter", "--state", "denied")
    esplanade("import", str(path))
    assert profile(esplanade, "ada@example.com")["consents"]["newsletter"]["state"] == "denied"


def test_progress_is_told_in_tenths_and_not_with_json(esplanade, project):
    path = project.write("people.csv", "email\n" + "".join(f"p{number}@example.com\n" for number in range(1_000)))
    assert esplanade("import", str(path)).err.splitlines()[-1] == "import: 100 %, 1000 rows"
    assert esplanade("import", str(path), "--json").err == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"Email,Name\na@example.com,A\n", "no column is email or id; there are Email, Name; say --map 'Email'=email"),
        (b"email,email\n", "both mean 'email'"),
        ("email\n".encode("utf-16"), "looks like UTF-16; save the file as UTF-8"),
        (b"email\n" + b"x" * 1_100_000 + b"\n", "line 2 is longer than 1 MiB"),
    ],
    ids=["empty", "no email", "twice", "utf-16", "no lines"],
)
def test_a_file_that_makes_no_sense_is_exit_1_with_the_remedy(esplanade, project, content, said):
    ended = esplanade("import", str(project.write("people.csv", content)))
    assert ended.code == 1
    assert said in ended.err
    assert not ended.out


def test_a_file_that_is_not_there_is_exit_1(esplanade):
    ended = esplanade("import", "people.csv")
    assert ended.code == 1
    assert "people.csv: cannot be read: No such file" in ended.err


def test_when_every_row_is_bad_it_is_exit_1(esplanade, project):
    assert esplanade("import", str(project.write("people.csv", "email\nnobody\n"))).code == 1


def test_a_misspelt_map_is_told(esplanade, project):
    ended = esplanade("import", str(project.write("people.csv", "email,Voornaam\n")), "--map", "Vornaam=firstname")
    assert ended.code == 1
    assert "--map names 'Vornaam', but the columns are email, Voornaam" in ended.err
