"""What every screen shares: signing in, keys, themes, and nothing that goes wrong unseen."""

from collections.abc import Callable

import httpx2
from playwright.sync_api import expect

from tests.acceptance.console.conftest import PASSWORD
from tests.support.browser import Screen, check_axe, shoot

Open = Callable[[str], Screen]


def test_a_person_signs_in_is_led_where_they_wanted_and_signs_out(screen: Open) -> None:
    one = screen("nobody")
    page = one.open("/feed?q=sentiment%3Anegative")
    expect(page).to_have_title("Sign in · Hark")
    check_axe(page)
    shoot(page, "login")
    page.get_by_label("Name").fill("analyst")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(one.address + "/feed?q=sentiment%3Anegative")
    page.get_by_label("Your account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · Hark")


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(address: str) -> None:
    answers = []
    for name in ("agent", "nobody-of-this-name"):
        answer = httpx2.post(f"{address}/login", data={"name": name, "password": "not the password"})
        assert answer.status_code == 401
        answers.append(answer.text.replace(name, "NAME"))
    assert answers[0] == answers[1]


def test_guessing_a_password_is_throttled(address: str) -> None:
    codes = [
        httpx2.post(f"{address}/login", data={"name": "guessed", "password": str(n)}).status_code
        for n in range(12)
    ]
    assert codes == [401] * 10 + [429] * 2


def test_each_role_finds_the_screens_that_are_theirs_in_the_rail(screen: Open) -> None:
    page = screen("partner").open("/feed")
    rail = page.get_by_role("navigation", name="Screens")
    expect(rail.get_by_role("link", name="Feed")).to_be_visible()
    expect(rail.get_by_role("link", name="Admin")).to_have_count(0)


def test_the_keyboard_reaches_the_query_the_list_and_the_help(screen: Open) -> None:
    page = screen("agent").open("/feed")
    page.keyboard.press("/")
    expect(page.get_by_label("Query")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("[data-list] > .current")).to_have_count(1)
    assert (
        page.evaluate(
            "[...document.querySelector('[data-list]').children].findIndex(i => i.matches('.current'))"
        )
        == 1
    )
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_the_chosen_theme_is_kept(screen: Open) -> None:
    page = screen("lead").open("/feed")
    page.get_by_role("button", name="Switch between dark and light").click()
    chosen = page.evaluate("document.documentElement.dataset.theme")
    assert chosen == "dark"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == chosen


def test_a_query_that_cannot_be_understood_is_told_at_its_place(screen: Open) -> None:
    page = screen("agent").open("/feed?q=delay+AND+%28")
    expect(page.get_by_role("alert")).to_contain_text("this ( is never closed")
    check_axe(page)


def test_a_page_weighs_less_than_300_kilobytes(screen: Open) -> None:
    one = screen("admin")
    one.open("/feed")
    assert 10_000 < sum(one.weights()) < 300_000
