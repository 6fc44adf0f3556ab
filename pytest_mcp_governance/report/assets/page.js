'use strict';
// Adds filters, light and dark, links that open a call, and enlarged screens. The page is whole without it.
(() => {
  const $ = id => document.getElementById(id);
  const root = document.documentElement, SVG = 'http://www.w3.org/2000/svg';
  const calls = [...document.querySelectorAll('details.call')];

  const theme = $('theme'), print = $('print');
  theme.hidden = print.hidden = false;
  theme.addEventListener('click', () => {
    const dark = matchMedia('(prefers-color-scheme:dark)').matches;
    const now = root.dataset.theme || (dark ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
  });
  print.addEventListener('click', () => window.print());

  // A link to a call opens it, even when a filter hides it.
  const reveal = () => {
    const target = location.hash.length > 1 && $(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let up = target.parentElement; up; up = up.parentElement) if (up.tagName === 'DETAILS') { up.open = true; up.hidden = false; }
    target.scrollIntoView();
  };
  addEventListener('hashchange', reveal);
  document.addEventListener('click', event => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.getAttribute('href') === location.hash) setTimeout(reveal);
  });

  const search = $('q'), count = $('count'), none = $('nothing');
  const selects = {state: $('f-state'), agent: $('f-agent'), tool: $('f-tool'), scope: $('f-scope')};
  const texts = new Map();
  const textOf = call => {
    if (!texts.has(call)) texts.set(call, call.textContent.toLowerCase());
    return texts.get(call);
  };
  const values = (call, key) => (call.dataset[key] || '').split('\n').filter(Boolean);
  const number = new Intl.NumberFormat('en');
  for (const [key, select] of Object.entries(selects)) {
    for (const value of [...new Set(calls.flatMap(call => values(call, key)))].sort()) select.add(new Option(value.length > 60 ? value.slice(0, 59) + '…' : value, value));
    select.addEventListener('change', () => filter());
  }
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const call of calls) {
      const fits = Object.entries(selects).every(([key, select]) => !select.value || values(call, key).includes(select.value))
        && words.every(word => textOf(call).includes(word));
      call.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${number.format(shown)} of ${number.format(calls.length)} calls`;
    none.hidden = shown > 0 || !calls.length;
  };
  search.addEventListener('input', filter);
  $('clear').addEventListener('click', () => {
    search.value = '';
    for (const select of Object.values(selects)) select.value = '';
    filter();
  });
  // A cell of the access matrix shows its calls.
  for (const cell of document.querySelectorAll('.mx a[data-scope]')) cell.addEventListener('click', event => {
    event.preventDefault();
    search.value = ''; selects.state.value = ''; selects.tool.value = '';
    selects.agent.value = cell.dataset.agent; selects.scope.value = cell.dataset.scope;
    filter();
    $('calls').scrollIntoView();
    selects.agent.focus({preventScroll: true});
  });
  $('bar').hidden = !calls.length;
  filter();

  const zoom = $('zoom'), place = $('zoomed');
  const enlarge = holder => {
    const source = holder.querySelector('svg.pic'), large = document.createElementNS(SVG, 'svg'), use = document.createElementNS(SVG, 'use');
    for (const name of ['viewBox', 'role', 'aria-label']) large.setAttribute(name, source.getAttribute(name));
    large.setAttribute('class', 'pic');
    use.setAttribute('href', '#' + holder.dataset.zoom);
    large.append(use);
    place.replaceChildren(large);
    zoom.showModal();
  };
  $('unzoom').addEventListener('click', () => zoom.close());
  zoom.addEventListener('click', event => { if (event.target === zoom) zoom.close(); });
  for (const holder of document.querySelectorAll('[data-zoom]')) {
    if (holder.tagName !== 'A') {
      holder.tabIndex = 0;
      holder.setAttribute('role', 'button');
      holder.setAttribute('aria-label', 'Enlarge: ' + holder.querySelector('svg').getAttribute('aria-label'));
      holder.addEventListener('keydown', event => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); enlarge(holder); } });
    }
    holder.addEventListener('click', event => { event.preventDefault(); enlarge(holder); });
  }

  if (location.hash) reveal();
  root.dataset.ready = 'true';
})();
