// What a site's pages do beyond being read: tables are sorted and filtered, the address keeps the
// view, and curves are drawn when they are asked for. Nothing is fetched: data comes as scripts.
"use strict";
const hgobench = (() => {
  const AT_ONCE = 500; // rows; a browser takes seconds to lay out thousands
  const MANY = 30; // rows; of fewer, nobody searches one by its words
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, options = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  // The view is what stands behind #: table.column=value, with & between. Else it is an anchor.
  const view = new URLSearchParams(
    location.hash.includes("=") ? location.hash.slice(1) : "");
  const keep = (key, value) => {
    if (value) view.set(key, value);
    else view.delete(key);
    const hash = view.toString();
    try {
      history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    } catch {
      location.hash = hash;
    }
  };

  // A cell's place among others: numbers by size, then what is none, then nothing ("-", "").
  const place = (text) => {
    if (text === "" || text === "-") return [3, 0, ""];
    const number = /^[\[(]?([-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)/i.exec(text);
    if (number) return [0, Number(number[1].replaceAll(",", "")), ""];
    return text.startsWith("never") || text === "inf" ? [1, 0, ""] : [2, 0, natural(text)];
  };
  // Numbers in names by their size; comparing such texts is many times faster than Intl.Collator.
  const natural = (text) => text.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(9, "0"));
  const compared = (a, b) =>
    a[0] - b[0] || a[1] - b[1] || (a[2] < b[2] ? -1 : a[2] > b[2] ? 1 : 0);

  const interactive = (table, number) => {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const names = heads.map((head) => head.textContent);
    const prefix = number ? `${number}.` : "";
    const kept = new Set(rows);
    let sorted = rows, most = AT_ONCE;
    const more = make("button", { type: "button", className: "more", hidden: true });
    const lay = () => {
      let shown = 0;
      for (const row of sorted) row.hidden = !kept.has(row) || ++shown > most;
      const rest = kept.size - most;
      more.hidden = rest <= 0;
      more.textContent = `Show ${Math.min(rest, AT_ONCE)} more of ${rest}`;
    };
    more.addEventListener("click", () => {
      most += AT_ONCE;
      lay();
    });
    // Rows that go on with the one above have no place of their own.
    if (rows.length < 2 || !names[0] || rows.some((row) => !row.cells[0].textContent)) return;

    const sort = (column, down) => {
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      sorted = rows;
      if (column >= 0) {
        const keys = rows.map((row, i) => [place(row.cells[column].textContent), i]);
        keys.sort(([a, i], [b, j]) => {
          const last = (a[0] === 3) - (b[0] === 3);
          return last || (down ? compared(b, a) : compared(a, b)) || i - j;
        });
        sorted = keys.map(([, i]) => rows[i]);
        heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
      }
      most = AT_ONCE;
      lay();
      body.replaceChildren(); // at once: taken out one by one they take seconds
      body.append(...sorted);
    };
    heads.forEach((head, column) => {
      if (!names[column]) return;
      const button = make("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const numeric = rows.some((row) => place(row.cells[column].textContent)[0] === 0);
        const first = numeric ? "descending" : "ascending";
        const next = !now ? first : now === first ? (numeric ? "ascending" : "descending") : "";
        sort(next ? column : -1, next === "descending");
        keep(`${prefix}sort`, next && (next === "descending" ? "-" : "") + names[column]);
      });
      head.append(button);
    });

    const factors = JSON.parse(table.dataset.factors || "[]");
    const values = rows.map((row) =>
      (row.dataset.f || "").split(" ").map((some) => some.split(",").filter(Boolean)));
    const chosen = new Map();
    const search = make("input", { type: "search", size: 12 });
    const count = make("output");
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      kept.clear();
      rows.forEach((row, i) => {
        if ([...chosen].every(([factor, value]) => values[i][factor].includes(value)) &&
          words.every((word) => row.textContent.toLowerCase().includes(word))) kept.add(row);
      });
      most = AT_ONCE;
      lay();
      const shown = kept.size;
      count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
      if (shown < rows.length) folded.open = true;
    };
    if (!factors.length && rows.length < MANY) {
      restoreSort();
      return;
    }
    const bar = make("form", { className: "choose" });
    bar.addEventListener("submit", (event) => event.preventDefault());
    bar.setAttribute("aria-label", "Choose rows");
    const selects = factors.map(([name, known], factor) => {
      const select = make("select", {}, make("option", { value: "" }, "all"),
        ...known.map((value, i) => make("option", { value: String(i) }, value)));
      select.addEventListener("change", () => {
        if (select.value) chosen.set(factor, select.value);
        else chosen.delete(factor);
        keep(prefix + name, select.value && known[Number(select.value)]);
        filter();
      });
      bar.append(make("label", {}, name, select));
      return select;
    });
    search.addEventListener("input", () => {
      keep(`${prefix}words`, search.value.trim());
      filter();
    });
    const all = make("button", { type: "button" }, "Show all");
    all.addEventListener("click", () => {
      selects.forEach((select) => { select.value = ""; });
      search.value = "";
      chosen.clear();
      for (const key of [...view.keys()]) if (key.startsWith(prefix)) keep(key, "");
      sort(-1, false);
      filter();
    });
    bar.append(make("label", {}, "words", search), all);
    const folded = make("details", { className: "chooser", open: innerWidth > 640 },
      make("summary", {}, "Choose rows: ", count), bar);
    table.closest(".wide").before(folded);
    table.closest(".wide").after(more);
    factors.forEach(([name, known], factor) => {
      const at = known.indexOf(view.get(prefix + name));
      if (at >= 0) {
        selects[factor].value = String(at);
        chosen.set(factor, String(at));
      }
    });
    search.value = view.get(`${prefix}words`) || "";
    restoreSort();
    filter();

    function restoreSort() {
      const wanted = view.get(`${prefix}sort`) || "";
      const column = names.indexOf(wanted.replace(/^-/, ""));
      if (wanted && column >= 0) sort(column, wanted.startsWith("-"));
    }
  };

  // A number leads where its row does; the row's own link is there for the keyboard.
  const PAGE = "a[href]:not([href*='#'])";
  const leading = (table) => {
    table.tBodies[0].addEventListener("click", (event) => {
      const link = event.target.closest("tr")?.querySelector(PAGE);
      if (!link || event.target.closest("a") || String(getSelection())) return;
      link.click();
    });
    for (const row of table.tBodies[0].rows) if (row.querySelector(PAGE)) row.classList.add("leads");
  };

  // Curves: one colour for each group; its curves thin, and their mean in bold.
  const waiting = new Map();
  const mean = (lists) => lists[0].map((_, i) => {
    const known = lists.map((list) => list[i]).filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  });
  const ticks = (low, high, about) => {
    const span = high - low || Math.abs(high) || 1;
    const rough = span / about, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) {
      found.push(Number(at.toPrecision(12)));
    }
    return found;
  };
  const drawn = (curves, x, y, groups, label, wide) => {
    const shape = (tag, options, text) => {
      const element = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(options)) element.setAttribute(name, value);
      if (text !== undefined) element.textContent = text;
      return element;
    };
    const high = Math.max(240, Math.min(380, wide * 0.55)), left = 64, bottom = 46, top = 12, right = 14;
    const svg = shape("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": label });
    const points = ([, , columns]) => columns[x].map((value, i) => [value, columns[y][i]])
      .filter(([a, b]) => a !== null && b !== null);
    const every = curves.flatMap(points);
    if (!every.length) return svg;
    const ends = (at) => [Math.min(...every.map((p) => p[at])), Math.max(...every.map((p) => p[at]))];
    let [x0, x1] = ends(0), [y0, y1] = ends(1);
    if (/accuracy|share/.test(y)) [y0, y1] = [Math.min(0, y0), Math.max(1, y1)];
    if (x0 === x1) x1 = x0 + 1;
    if (y0 === y1) y1 = y0 + 1;
    const toX = (value) => left + (value - x0) / (x1 - x0) * (wide - left - right);
    const toY = (value) => high - bottom - (value - y0) / (y1 - y0) * (high - bottom - top);
    const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
    for (const tick of ticks(y0, y1, 5)) {
      svg.append(shape("line", { x1: left, x2: wide - right, y1: toY(tick), y2: toY(tick), stroke: "var(--rule)" }),
        shape("text", { x: left - 8, y: toY(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    for (const tick of ticks(x0, x1, wide < 500 ? 3 : 6)) {
      svg.append(shape("text", { x: toX(tick), y: high - bottom + 18, "text-anchor": "middle" }, number(tick)));
    }
    svg.append(shape("text", { x: (left + wide) / 2, y: high - 6, "text-anchor": "middle" }, x),
      shape("text", { transform: `translate(14 ${(high - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y));
    const line = (some, options) => svg.append(shape("path", {
      d: some.map(([a, b], i) => `${i ? "L" : "M"}${toX(a).toFixed(1)} ${toY(b).toFixed(1)}`).join(""),
      fill: "none", ...options }));
    const together = (curve) => curve[2][x].length;
    groups.forEach(([name, colour, dash]) => {
      const members = curves.filter(([group]) => group === name);
      if (!members.length) return;
      members.forEach((member) => line(points(member), { stroke: colour, "stroke-width": 1, opacity: 0.45 }));
      const whole = members.filter((member) => together(member) === Math.max(...members.map(together)));
      const middle = ["", "", { [x]: mean(whole.map((m) => m[2][x])), [y]: mean(whole.map((m) => m[2][y])) }];
      line(points(middle), { stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash });
    });
    return svg;
  };
  const show = (home, data) => {
    const names = [...new Set(data.curves.map(([group]) => group))];
    const dashes = ["", "9 3", "3 3", "9 3 3 3"];
    const groups = names.map((name, i) => [name, `var(--c${i % 7})`, dashes[Math.floor(i / 7) % 4]]);
    const picked = (title, known) => {
      const select = make("select", {}, ...known.map((name) => make("option", { value: name }, name)));
      select.addEventListener("change", draw);
      return [make("label", {}, `${title} `, select), select];
    };
    const [labelY, y] = picked("up", data.y), [labelX, x] = picked("along", data.x);
    const boxes = groups.map(([name, colour, dash], i) => {
      const box = make("input", { type: "checkbox", checked: i < 7 });
      box.addEventListener("change", draw);
      const key = make("span", { className: "key" });
      key.style.borderColor = colour;
      key.style.borderTopStyle = dash ? "dashed" : "solid";
      return [box, make("label", {}, box, key, name)];
    });
    const canvas = make("div");
    home.replaceChildren(
      make("fieldset", {}, make("legend", {}, "Axes"), labelY, labelX),
      make("fieldset", {}, make("legend", {}, "Shown: thin lines are seeds, bold ones their mean"),
        ...boxes.map(([, label]) => label)), canvas);
    function draw() {
      const on = groups.filter((_, i) => boxes[i][0].checked);
      const shown = data.curves.filter(([group]) => on.some(([name]) => name === group));
      canvas.replaceChildren(drawn(shown, x.value, y.value, on, `${y.value} over ${x.value}: ${on.map(([n]) => n).join(", ")}`,
        Math.max(280, Math.min(home.clientWidth, 832))));
    }
    draw();
  };
  const curves = (home) => {
    const button = make("button", { type: "button" }, "Draw the curves");
    button.addEventListener("click", () => {
      button.disabled = true;
      waiting.set(home.dataset.from, (data) => show(home, data));
      const script = make("script", { src: home.dataset.from });
      script.addEventListener("error", () => {
        home.replaceChildren(make("p", { role: "alert" }, `${home.dataset.from} is not there, or can't be read.`));
      });
      document.head.append(script);
    });
    home.replaceChildren(button);
  };

  addEventListener("hashchange", () => {
    if (location.hash.includes("=")) location.reload();
  });
  addEventListener("DOMContentLoaded", () => {
    const tables = [...document.querySelectorAll(".scroll table")];
    tables.forEach(interactive);
    tables.forEach(leading);
    document.querySelectorAll(".curves").forEach(curves);
  });
  return { data: (name, content) => waiting.get(name)?.(content) };
})();
