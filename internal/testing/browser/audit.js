(() => {
  const problems = [];
  const name = element => element.tagName.toLowerCase() + " " + (element.id || element.innerText || "").slice(0, 40);
  const isShown = element => element.getClientRects().length > 0 && getComputedStyle(element).visibility === "visible";

  // Contrast, as WCAG 2 defines it.
  const rgba = color => {
    const parts = color.match(/^rgba?\((.*)\)$/)[1].split(/[ ,/]+/).map(Number);
    return parts.length === 3 ? [...parts, 1] : parts;
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, i) => part * a + below[i] * (1 - a));
  const background = element => {
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    const below = element.parentElement ? background(element.parentElement) : canvas;
    return over(rgba(getComputedStyle(element).backgroundColor), below);
  };
  const luminance = rgb => {
    const [r, g, b] = rgb.map(part => part / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = element => {
    const behind = background(element);
    const [low, high] = [luminance(over(rgba(getComputedStyle(element).color), behind)), luminance(behind)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = new Set(document.querySelectorAll("input:not([type=checkbox])"));
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (walker.currentNode.data.trim()) texts.add(walker.currentNode.parentElement);
  }
  for (const element of texts) {
    if (!isShown(element)) continue;
    if (getComputedStyle(element).opacity !== "1") problems.push("not opaque: " + name(element));
    if (contrast(element) < 4.5) problems.push("contrast " + contrast(element).toFixed(2) + ": " + name(element));
  }
  if (texts.size < 5) problems.push("only " + texts.size + " texts");

  // Width.
  if (document.documentElement.scrollWidth > innerWidth) problems.push("scrolls sideways");
  for (const element of document.querySelectorAll("body *")) {
    const box = element.getBoundingClientRect();
    if (isShown(element) && (box.left < 0 || box.right > innerWidth + 0.5)) problems.push("too wide: " + name(element));
  }

  // Names.
  for (const field of document.querySelectorAll("input")) {
    if (!field.labels.length || !field.labels[0].innerText.trim()) problems.push("no label: " + name(field));
    if (field.type === "password" && !/^(current|new)-password$/.test(field.autocomplete)) problems.push("no autocomplete: " + name(field));
    if (field.type === "text" && field.autocomplete !== "username") problems.push("no autocomplete: " + name(field));
  }
  // An error is said in the title. In a form it is that of one field, which has the focus.
  const error = document.querySelector("#error");
  if (document.title.startsWith("Error: ") !== !!error) problems.push("title: " + document.title);
  const wrong = [...document.querySelectorAll("[aria-invalid=true], [aria-describedby]")];
  if (wrong.length !== (error && error.closest("form") ? 1 : 0)) problems.push(wrong.length + " wrong fields");
  for (const field of wrong) {
    if (field.ariaInvalid !== "true" || field.getAttribute("aria-describedby") !== "error") problems.push("the error is not said: " + name(field));
    if (document.activeElement !== field) problems.push("no focus: " + name(field));
  }

  // Where the page is.
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.pathname === location.pathname;
    if ((link.getAttribute("aria-current") === "page") !== isHere) problems.push("aria-current: " + name(link));
  }
  for (const list of document.querySelectorAll("ul")) {
    if (getComputedStyle(list).listStyleType === "none" && list.role !== "list") problems.push("no list without bullets: " + name(list));
  }
  for (const element of document.querySelectorAll("time")) {
    if (Number.isNaN(Date.parse(element.dateTime))) problems.push("no time: " + element.outerHTML);
  }

  for (const element of document.querySelectorAll("a, button")) {
    if (!element.innerText.trim() && !element.ariaLabel) problems.push("no name: " + element.outerHTML);
  }
  const buttons = [...document.querySelectorAll("button")].map(element => element.ariaLabel || element.innerText.trim());
  if (new Set(buttons).size < buttons.length) problems.push("buttons of one name: " + buttons);
  for (const image of document.querySelectorAll("img:not([alt])")) problems.push("no alt: " + image.outerHTML);
  const ids = [...document.querySelectorAll("[id]")].map(element => element.id);
  if (new Set(ids).size < ids.length) problems.push("an id twice: " + ids);
  if (document.querySelectorAll("h1").length !== 1) problems.push("not one h1");
  if (!document.documentElement.lang) problems.push("no lang");
  return problems;
})()
