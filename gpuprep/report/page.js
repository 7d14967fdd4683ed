(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const text = (index) => (index === null || index === undefined ? "" : data.strings[index]);
  const byId = (id) => document.getElementById(id);
  const GLYPHS = {
    ready: "✓", prepared: "◇", drifted: "≠", refused: "⊘", failed: "✗", unreachable: "⌁", unknown: "?",
    passed: "✓", warned: "!", skipped: "·", done: "✓", planned: "○",
  };
  const CHECK_STATES = ["passed", "failed", "warned", "skipped"];
  const BAD = ["failed", "warned"];
  const WORDS = { passed: "passed", failed: "failed", warned: "warned", skipped: "not tried" };
  const SAID = { failed: "Failed: ", warned: "Warning: ", skipped: "Not tried: " };
  const STEP_STATES = ["planned", "done", "failed", "unknown"];
  const JUDGING = ["verify", "status"]; // they look at hosts of others too, for which nothing is planned
  const NAMES = data.titles;
  const FEW = 8; // hosts, of which the worst is opened at once
  const PART = 1000; // hosts that are drawn at a time
  const TIERS = { quick: "Files, versions, driver", full: "Programs", "burn-in": "Under load" };

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "class") element.className = value;
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    for (const child of children.flat(Infinity)) if (child !== null && child !== "") element.append(child);
    return element;
  }
  const color = (name) => `var(--${name})`;
  const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
  const hosts = (number) => `${number} ${number === 1 ? "host" : "hosts"}`;
  function seconds(value) {
    if (typeof value !== "number") return "";
    if (value < 0.1) return `${Math.round(value * 1000)} ms`;
    if (value < 10) return `${value.toFixed(1)} s`;
    const rounded = Math.round(value);
    return rounded < 60 ? `${rounded} s` : `${Math.floor(rounded / 60)}\u00a0min\u00a0${rounded % 60}\u00a0s`;
  }
  function glyph(state) {
    return make("span", { class: `glyph ${state}`, "aria-hidden": "true" }, GLYPHS[state] || "?");
  }

  // --- what is shown -------------------------------------------------------------------------
  const filter = { query: "", states: new Set(), problem: null, sort: "state" };
  const cards = data.hosts.map((host) => ({ host, element: null, words: null }));

  function words(card) {
    if (card.words === null) {
      const host = card.host;
      const parts = [host.name, host.state, host.gpus, host.say, text(host.shape), text(host.os), ...host.problems];
      for (const version of host.versions) parts.push(version[0] + " " + text(version[1]));
      for (const step of host.steps) parts.push(text(step[0]));
      card.words = parts.join("\n").toLowerCase();
    }
    return card.words;
  }
  function fits(card) {
    if (filter.states.size && !filter.states.has(card.host.state)) return false;
    if (filter.problem !== null && !card.host.problems.includes(filter.problem)) return false;
    return filter.query.split(/\s+/).every((word) => !word || words(card).includes(word));
  }
  let fitting = []; // in order
  let drawn = []; // of these, the first
  function draw(number) {
    drawn = fitting.slice(0, number);
    for (const entry of drawn) if (entry.element === null) entry.element = card(entry);
    byId("hosts").replaceChildren(...drawn.map((entry) => entry.element));
    const left = fitting.length - drawn.length;
    byId("more").hidden = left === 0;
    byId("next").textContent = `Show ${Math.min(PART, left)} more`;
    byId("left").textContent = `${hosts(left)} not drawn yet; search and filters find them all.`;
  }
  function apply() {
    fitting = ordered().filter(fits);
    draw(PART);
    const shown = fitting.length;
    byId("none").hidden = shown > 0 || cards.length === 0;
    byId("shown").textContent = shown === cards.length ? hosts(shown) : `${shown} of ${hosts(cards.length)}`;
    for (const button of document.querySelectorAll("#chips button, #problem-list button")) {
      const on = button.dataset.state ? filter.states.has(button.dataset.state) : filter.problem === button.dataset.problem;
      button.setAttribute("aria-pressed", String(on));
    }
    remember();
  }
  function ordered() {
    if (filter.sort !== "name") return cards; // as they come: the worst first
    return [...cards].sort((a, b) => a.host.name.localeCompare(b.host.name, undefined, { numeric: true }));
  }
  function remember() {
    const now = new URLSearchParams();
    if (filter.query) now.set("q", filter.query);
    for (const state of filter.states) now.append("state", state);
    if (filter.problem !== null) now.set("problem", filter.problem);
    try {
      history.replaceState(null, "", now.size || now.toString() ? `#${now}` : location.pathname + location.search);
    } catch { /* a page inside a sandboxed frame has no history */ }
  }
  function recall() {
    const before = new URLSearchParams(location.hash.slice(1));
    filter.query = before.get("q") || "";
    filter.states = new Set(before.getAll("state"));
    filter.problem = before.get("problem");
    byId("search").value = filter.query;
    return before.get("host");
  }

  // --- one host ------------------------------------------------------------------------------
  function strip(host) {
    // What a refused host lacks is no news: it was left as it is.
    if (!host.checks.length || host.state === "refused") return make("span", { class: "ladder" });
    const share = 100 / host.checks.length;
    const stops = host.checks.map((check, index) =>
      `${color(CHECK_STATES[check[1]])} ${index * share}% ${(index + 1) * share}%`);
    const bar = make("span", { class: "strip", "aria-hidden": "true" });
    bar.style.backgroundImage = `linear-gradient(90deg, ${stops.join(", ")})`;
    const counts = CHECK_STATES.map((state, index) => [host.checks.filter((check) => check[1] === index).length, WORDS[state]])
      .filter(([number]) => number).map(([number, word]) => `${number} ${word}`.replaceAll(" ", "\u00a0")).join(", ");
    return make("span", { class: "ladder" }, bar, counts);
  }
  function card(entry) {
    const host = entry.host;
    const versions = host.versions.map(([name, value]) =>
      (name === "driver" ? "" : `${NAMES[name] || name} `) + text(value)).join(" · ");
    const element = make("details", { class: "host" },
      make("summary", null,
        make("span", { class: `state ${host.state}` }, glyph(host.state), capital(host.state)),
        make("span", { class: "name" }, host.name),
        make("span", { class: "gpus soft" }, host.gpus || "no GPU"),
        make("span", { class: "versions soft" }, versions),
        strip(host),
        host.say ? make("span", { class: "say" }, host.say) : null));
    element.addEventListener("toggle", () => { if (element.open) fill(entry); });
    return element;
  }
  function fill(entry) {
    if (entry.filled) return;
    entry.filled = true;
    entry.element.append(make("div", { class: "body" }, ...body(entry.host).filter(Boolean)));
  }
  function section(title, content) {
    return content ? make("section", null, make("h3", null, title), content) : null;
  }
  function body(host) {
    const alert = host.error === null ? null : make("div", { class: `alert ${host.state}` },
      make("p", null, text(host.error), host.code ? [" ", make("code", null, text(host.code))] : null));
    const reboot = host.reboot ? make("div", { class: "alert drifted" }, make("p", null, "A reboot is due.")) : null;
    const notes = host.warnings.map(([code, message, nearest]) => make("div", { class: "alert warned" },
      make("p", null, text(message), " ", make("code", null, text(code))), nearest === null ? null : make("p", null, text(nearest))));
    const wrong = host.state === "refused" ? [] : host.checks.filter((check) => BAD.includes(CHECK_STATES[check[1]]));
    return [alert, reboot, ...notes,
      section("What is wrong", wrong.length ? make("div", { class: "list" }, wrong.map((check) => rung(check, true))) : null),
      section(data.pending ? "Plan" : "Steps", steps(host)),
      section("Carried out", operations(host)),
      section(data.pending ? "What files would become" : "What files became", diffs(host)),
      section("Why this stack", reasons(host)),
      section("Host", facts(host)),
      ...ladder(host)];
  }
  function steps(host) {
    if (!host.steps.length) {
      if (host.state === "refused") return make("p", { class: "soft" }, "Refused, so nothing was planned and nothing was touched.");
      if (JUDGING.includes(data.verb)) return null;
      return make("p", { class: "soft" }, host.planned ? "Nothing differs from the desired stack." : "No plan could be made.");
    }
    const roles = new Map();
    for (const step of host.steps) roles.set(step[1], [...(roles.get(step[1]) || []), step]);
    return make("div", { class: "list" }, [...roles].map(([role, own]) => {
      const counts = STEP_STATES.map((state, index) => [own.filter((step) => step[7] === index).length, state]).filter(([number]) => number);
      const worst = ["failed", "unknown", "planned", "done"].find((state) => counts.some(([, other]) => other === state));
      const open = ["failed", "unknown"].includes(worst) || host.steps.length <= 6;
      return make("details", { class: "item", open: open ? "" : null },
        make("summary", { class: "line" },
          make("span", { title: worst }, glyph(worst)),
          make("p", null, text(role)),
          make("span", { class: "end" }, counts.map(([number, state]) => `${number} ${state}`).join(", "))),
        make("div", { class: "steps" }, own.map(step)));
    }));
  }
  function step([, , action, target, reason, before, after, status]) {
    const state = STEP_STATES[status];
    const change = [before, after].filter((value) => value !== null).map(text).join(" → ");
    return make("div", { class: "item line" },
      make("span", { title: state }, glyph(state)),
      make("p", null, `${capital(text(action))} `, make("code", null, text(target)),
        reason === null ? null : [make("br"), make("span", { class: "note" }, text(reason))]),
      make("span", { class: "end" }, change));
  }
  function operations(host) {
    if (!host.operations.length) return null;
    return make("div", { class: "list" }, host.operations.map(([role, detail, changed, time]) =>
      make("div", { class: "item line" },
        make("span", { title: changed ? "changed" : "as it was" }, glyph(changed ? "done" : "skipped")),
        make("p", null, text(detail), " ", make("span", { class: "note" }, text(role))),
        make("span", { class: "end" }, seconds(time)))));
  }
  function diffs(host) {
    if (!host.diffs.length) return null;
    return make("div", { class: "list" }, host.diffs.map(([path, lines]) =>
      make("details", { class: "item", open: host.diffs.length <= 3 ? "" : null },
        make("summary", { class: "line" }, make("span", { class: "glyph soft", "aria-hidden": "true" }, "±"),
          make("p", null, make("code", null, text(path)))),
        make("div", { class: "more" }, make("pre", { tabindex: "0" }, text(lines).split("\n").map((line) =>
          make("span", { class: (!/^(---|\+\+\+)/.test(line) && { "+": "passed", "-": "failed" }[line[0]]) || "soft" }, `${line}\n`)))))));
  }
  function reasons(host) {
    if (!host.reasons.length) return null;
    return make("div", { class: "list" }, host.reasons.map(([choice, value, why, source]) =>
      make("div", { class: "item line wide" }, make("span"),
        make("p", null, `${NAMES[text(choice)] || capital(text(choice))}: `, make("b", null, text(value)), make("br"), make("span", { class: "note" }, text(why))),
        make("p", { class: "note" }, text(source)))));
  }
  function facts(host) {
    const rows = [["GPUs", host.gpus], ["Shape", text(host.shape)], ["System", text(host.os)], ["Kernel", text(host.kernel)],
      ...host.versions.map(([name, value]) => [NAMES[name] || capital(name), text(value)])].filter(([, value]) => value);
    return rows.length ? make("dl", null, rows.map(([name, value]) => [make("dt", null, name), make("dd", null, value)])) : null;
  }
  function ladder(host) {
    return Object.entries(TIERS).map(([tier, title]) => {
      const rungs = host.checks.filter((check) => (data.checks[check[0]].tier || "quick") === tier);
      return section(title, rungs.length ? make("div", { class: "list" }, rungs.map((check) => rung(check, false))) : null);
    });
  }
  function rung([index, status, detail, expected, observed, evidence, remedy, time], open) {
    const known = data.checks[index];
    const state = CHECK_STATES[status];
    const rows = [["Expected", expected], ["Observed", observed]].filter(([, value]) => value !== null);
    return make("details", { class: "item", open: open ? "" : null },
      make("summary", { class: "line wide" },
        make("span", { title: state }, glyph(state)),
        make("p", null, (BAD.includes(state) && known.failure) || known.title),
        make("p", { class: "note" }, (SAID[state] || "") + text(detail)),
        make("span", { class: "end" }, seconds(time))),
      make("div", { class: "more" },
        make("p", { class: "soft" }, BAD.includes(state) && known.proves ? "What must hold: " : "", `${known.proves || ""} `, make("code", null, known.id)),
        rows.length ? make("dl", null, rows.map(([name, value]) => [make("dt", null, name), make("dd", null, text(value))])) : null,
        remedy === null ? null : make("p", null, make("b", null, "Remedy: "), text(remedy)),
        evidence === null ? null : make("pre", { tabindex: "0" }, text(evidence))));
  }

  // --- the page ------------------------------------------------------------------------------
  function toggled(set, value) { if (!set.delete(value)) set.add(value); apply(); }
  function start() {
    const total = data.hosts.length;
    byId("run").textContent = [data.verb + (data.check ? " --check" : ""), data.when, seconds(data.seconds),
      data.cancelled ? "cancelled before the end" : ""].filter(Boolean).join(" · ");
    byId("about").textContent = data.run.head;
    byId("about").hidden = !data.run.head;
    byId("legend").hidden = !data.hosts.some((host) => host.checks.length && host.state !== "refused");
    for (const state of CHECK_STATES) {
      const swatch = make("i");
      swatch.style.background = color(state);
      byId("legend").append(make("span", null, swatch, WORDS[state]));
    }
    for (const [state, number, meaning] of data.counts) {
      const part = make("i");
      part.style.flexGrow = number;
      part.style.background = color(state);
      byId("bar").append(part);
      const chip = make("button", { type: "button", title: meaning, class: state, "aria-pressed": "false" },
        glyph(state), capital(state), " ", make("b", null, String(number)));
      chip.dataset.state = state;
      chip.addEventListener("click", () => toggled(filter.states, state));
      byId("chips").append(chip);
    }
    byId("bar").setAttribute("aria-label", data.counts.map(([state, number]) => `${number} ${state}`).join(", "));
    if (data.changes) {
      const { title, lines, more } = data.changes;
      byId("changes").hidden = false;
      byId("changes-title").textContent = title;
      byId("change-list").append(...(lines.length ? lines : ["Nothing."]).map((line) => make("li", null, line)));
      if (more) byId("change-list").append(make("li", null, `and ${more} more`));
    }
    byId("problems").hidden = !data.problems.length || total < 2;
    document.querySelector(".tools").hidden = total < 2;
    byId("chips").hidden = total < 2;
    for (const [id, title, number, warned] of data.problems) {
      const button = make("button", { type: "button", "aria-pressed": "false" }, make("b", null, String(number)),
        glyph(warned ? "warned" : "failed"), make("span", null, title, id.includes(".") || id === title ? null : make("code", { class: "soft" }, ` ${id}`)));
      button.dataset.problem = id;
      button.addEventListener("click", () => { filter.problem = filter.problem === id ? null : id; apply(); });
      byId("problem-list").append(button);
    }
    byId("search").addEventListener("input", (event) => { filter.query = event.target.value.trim().toLowerCase(); apply(); });
    byId("sort").addEventListener("change", (event) => { filter.sort = event.target.value; apply(); });
    byId("next").addEventListener("click", () => draw(drawn.length + PART));
    byId("clear").addEventListener("click", () => {
      filter.query = ""; filter.states.clear(); filter.problem = null; byId("search").value = ""; apply();
    });
    const cost = Object.entries(data.costs).map(([name, number]) => `${name.replaceAll("_", " ")} ${number}`).join(", ");
    byId("foot").textContent = `${cost ? `Cost: ${cost}. ` : ""}${data.run.foot ? `${data.run.foot}. ` : ""}Page made by gpuprep ${data.version} from its report.json, schema 1. The page loads nothing from elsewhere.`;
    const wanted = recall();
    apply();
    const named = cards.find((entry) => entry.host.name === wanted);
    if (named && !drawn.includes(named)) draw(Math.max(PART, fitting.indexOf(named) + 1));
    const one = named || (total <= FEW ? cards[0] : null); // the worst
    if (one && one.element) one.element.open = true;
    if (named && named.element && total > 1) named.element.scrollIntoView();
  }
  let opened = [];
  addEventListener("beforeprint", () => {
    draw(fitting.length);
    const shown = drawn;
    const good = ["ready", "prepared"];
    opened = shown.filter((entry) => !entry.element.open && (shown.length <= 20 || !good.includes(entry.host.state)));
    for (const entry of opened) { fill(entry); entry.element.open = true; }
  });
  addEventListener("afterprint", () => { for (const entry of opened) entry.element.open = false; });
  start();
  document.documentElement.dataset.drawn = Math.round(performance.now());
})();
