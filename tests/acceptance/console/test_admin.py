"""The administrator's path: a partner is added, limited, switched off; keys and sessions end; all of it is on record."""

from collections.abc import Callable

import httpx2
from playwright.sync_api import expect

from tests.acceptance.console.conftest import PASSWORD
from tests.support.browser import Screen, check_axe, shoot

Open = Callable[[str], Screen]
Client = Callable[[str], httpx2.Client]


def test_an_admin_adds_a_partner_changes_its_role_and_switches_it_off(screen: Open, address: str) -> None:
    page = screen("admin").open("/admin")
    form = page.locator("section", has=page.get_by_role("heading", name="Add a person"))
    form.get_by_label("Name").fill("fly-united")
    form.get_by_label("Role").select_option("partner")
    form.get_by_label("united").check()
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Add").click()
    row = page.locator("tr", has_text="fly-united")
    expect(row).to_contain_text("united")
    check_axe(page)
    shoot(page, "admin")
    with httpx2.Client(base_url=address) as partner:
        signed = partner.post("/login", data={"name": "fly-united", "password": PASSWORD})
        assert signed.status_code == 303
        assert partner.get("/api/v1/me").json()["brands"] == ["united"]
        row.get_by_text("Change").click()
        row.get_by_role("button", name="Switch off").click()
        expect(row).to_contain_text("switched off")
        assert partner.get("/api/v1/me").status_code == 401
    page.goto(screen("admin").address + "/admin/audit?action=person+changed")
    expect(page.locator("tbody tr").first).to_contain_text("fly-united")
    check_axe(page)
    shoot(page, "audit")


def test_a_mistake_in_the_form_is_told_beside_it(screen: Open) -> None:
    one = screen("admin")
    page = one.open("/admin")
    form = page.locator("section", has=page.get_by_role("heading", name="Add a person"))
    form.get_by_label("Name").fill("agent")
    form.get_by_label("Role").select_option("agent")
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("there is a person named agent already")
    one.forget()  # the browser reports the 400


def test_an_admin_cannot_shut_themselves_out(client: Client) -> None:
    answer = client("admin").post("/admin/people/admin", data={"disabled": "true"})
    assert answer.status_code == 400
    assert "cannot take the administration from yourself" in answer.text
    assert client("admin").post("/admin/people/admin", data={"role": "agent"}).status_code == 400


def test_one_makes_a_key_that_is_shown_once_does_what_its_scopes_say_and_is_revoked(
    screen: Open, address: str
) -> None:
    page = screen("analyst").open("/account")
    page.get_by_label("What it is for").fill("nightly figures")
    page.get_by_label("read:trends").check()
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator(".notice pre").inner_text()
    check_axe(page)
    shoot(page, "account")
    with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {secret}"}) as program:
        me = program.get("/api/v1/me").json()
        assert (me["name"], me["role"]) == ("analyst", "analyst")
        assert "trends" in me["permissions"]
        assert "search" not in me["permissions"]
        # It must not be able to make itself greater.
        assert program.post("/account/keys", data={"title": "more", "scopes": "admin"}).status_code == 403
        assert program.get("/account").status_code == 403
        page.goto(screen("analyst").address + "/account")
        assert secret not in page.content()
        page.get_by_role("button", name="Revoke nightly figures").click()
        expect(page.get_by_text("nightly figures")).to_have_count(0)
        assert program.get("/api/v1/me").status_code == 401


def test_nobody_ends_the_session_or_the_key_of_another(client: Client) -> None:
    agents = client("agent").get("/account")
    assert agents.status_code == 200
    answer = client("analyst").post("/account/sessions/0000/end")
    assert answer.status_code == 404
    assert client("analyst").post("/account/keys/0000/revoke").status_code == 404
    assert client("lead").get("/admin/sessions").status_code == 403


def test_a_session_is_ended_by_the_admin(client: Client, screen: Open, address: str) -> None:
    with httpx2.Client(base_url=address) as browser:
        browser.post(
            "/login",
            data={"name": "lead", "password": PASSWORD},
            headers={"User-Agent": "an old telephone"},
        )
        page = screen("admin").open("/admin/sessions")
        check_axe(page)
        shoot(page, "sessions")
        page.locator("tr", has_text="an old telephone").get_by_role("button", name="Sign out").click()
        expect(page.locator("tr", has_text="an old telephone")).to_have_count(0)
        assert browser.get("/api/v1/me").status_code == 401
