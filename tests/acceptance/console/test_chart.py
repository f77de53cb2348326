"""The chart: drawn in both themes, open to its mentions, and the same as a table."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.browser import Screen, check_axe, shoot

FIGURE = """async () => {
  const hours = 48, begin = Date.parse("2026-03-01T00:00:00Z");
  const times = [...Array(hours).keys()].map((hour) => begin + hour * 3600e3);
  const wave = (size) => times.map((_, at) => (at > 20 && at < 24 ? null : Math.round(size * (2 + Math.sin(at / 4)))));
  const data = {
    title: "Mentions an hour", times, kind: "line",
    series: [
      { label: "Southwest", values: wave(40), links: times.map((at) => `/feed?q=brand%3Asouthwest&since=${at}`) },
      { label: "Delta", values: wave(22) }, { label: "United", values: wave(21) },
    ],
    band: { low: wave(30), high: wave(55), label: "expected" },
    gaps: [{ since: times[20], until: times[24], label: "x: rate limited" }],
    notes: [{ at: times[34], label: "storm in Denver" }],
  };
  const bars = { ...data, title: "Bars", kind: "bar", series: [data.series[0]], band: undefined };
  for (const one of [data, bars]) {
    const figure = document.createElement("figure");
    figure.className = "chart card";
    figure.innerHTML = '<figcaption></figcaption><script type="application/json"></scr' + 'ipt><div class="plot"></div>'
      + '<details class="alternative"><summary>As a table</summary></details>';
    figure.querySelector("figcaption").textContent = one.title;
    figure.querySelector("script").textContent = JSON.stringify(one);
    document.querySelector("main").prepend(figure);
  }
  await import("/static/chart.js");
}"""


def test_a_chart_is_drawn_and_each_point_leads_to_its_mentions(screen: Callable[[str], Screen]) -> None:
    one = screen("analyst")
    page = one.open("/feed")
    page.evaluate(FIGURE)
    expect(page.locator("figure.chart canvas")).to_have_count(2)
    shoot(page, "chart")
    check_axe(page)
    table = page.locator("figure.chart").last.get_by_text("As a table")
    table.click()
    expect(page.locator("figure.chart").last.locator("tbody tr")).to_have_count(48)
    over = page.locator("figure.chart").last.locator(".u-over")
    over.scroll_into_view_if_needed()
    over.hover(position={"x": 100, "y": 40})
    expect(page.locator("figure.chart").last.locator(".tip")).to_contain_text("Southwest")
    over.click(position={"x": 100, "y": 40})
    page.wait_for_url("**/feed?q=brand%3Asouthwest&since=*")
