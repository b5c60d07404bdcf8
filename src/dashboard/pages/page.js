(() => {
  const every = Number(document.body.dataset.refresh) * 1000;
  if (!every) return;
  const at = (id, doc = document) => doc.getElementById(id);
  const stops = () => [...at("now").querySelectorAll("a[href],button,input,select,summary,[tabindex]")];
  let timer;
  const turn = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(20000) });
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Signed out meanwhile.
      if (!at("live", fresh)) return location.reload();
      const now = at("now");
      const focused = document.activeElement;
      const stop = now.contains(focused) ? stops().indexOf(focused) : -1;
      if (stop < 0 || !focused.matches("input,select,textarea")) {
        const open = [...now.querySelectorAll("details")].map((part) => part.open);
        const [x, y] = [scrollX, scrollY];
        const said = at("verdict");
        const verdict = at("verdict", fresh);
        if (said && verdict) {
          if (said.innerHTML !== verdict.innerHTML) said.innerHTML = verdict.innerHTML;
        }
        at("live").replaceChildren(...at("live", fresh).childNodes);
        now.querySelectorAll("details").forEach((part, index) => (part.open = open[index] ?? part.open));
        scrollTo(x, y);
        if (stop >= 0) stops()[stop]?.focus({ preventScroll: true });
      }
      at("made").replaceChildren(...at("made", fresh).childNodes);
      document.title = fresh.title;
      at("lost").hidden = true;
    } catch {
      at("lost").textContent = "Photo Factory does not answer. What you see below is old.";
      at("lost").hidden = false;
    }
    timer = setTimeout(turn, every);
  };
  document.addEventListener("visibilitychange", turn);
  timer = setTimeout(turn, every);
})();
