(() => {
  const every = Number(document.body.dataset.refresh) * 1000;
  if (!every) return;
  const at = (id, doc = document) => doc.getElementById(id);
  let timer;
  const turn = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(20000) });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = document.activeElement && document.activeElement.id;
      const [x, y] = [scrollX, scrollY];
      at("now").replaceChildren(...at("now", fresh).childNodes);
      const verdict = at("verdict", fresh).innerHTML;
      if (at("verdict").innerHTML !== verdict) at("verdict").innerHTML = verdict;
      at("made").replaceChildren(...at("made", fresh).childNodes);
      document.title = fresh.title;
      scrollTo(x, y);
      if (focused && at(focused)) at(focused).focus({ preventScroll: true });
      at("lost").hidden = true;
    } catch {
      at("lost").hidden = false;
    }
    timer = setTimeout(turn, every);
  };
  document.addEventListener("visibilitychange", turn);
  timer = setTimeout(turn, every);
})();
