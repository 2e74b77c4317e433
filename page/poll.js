
(function () {
  'use strict';
  var line = document.getElementById('live'), ring = document.getElementById('ring'), data = line.dataset;
  var delays = [2, 2, 3, 5, 8, 13, 20], tries = 0, start = Date.now(), timer, busy = false;
  var still = window.matchMedia && matchMedia('(prefers-reduced-motion: reduce)').matches;

  function leave() {
    if (data.checkUrl) location.replace(data.checkUrl); else location.reload();
  }
  // Same words, no new announcement: the text changes at most once a minute while the state stays.
  function say(text) {
    var minutes = Math.floor((Date.now() - start) / 60000);
    if (minutes > 0) text += ' ' + data.elapsed.replace('{n}', minutes);
    if (line.textContent !== text) line.textContent = text;
  }
  function later() {
    if (Date.now() - start > 600000) return leave();
    busy = false;
    timer = setTimeout(poll, 1000 * delays[Math.min(tries++, delays.length - 1)]);
  }
  // Any answer but waiting or processing is for the server to explain: load the page anew.
  function judge(body) {
    var state;
    try { state = JSON.parse(body).state; } catch (e) { state = ''; }
    if (state !== 'waiting' && state !== 'processing') return leave();
    say(data[state]);
    later();
  }
  function poll() {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    if (!still && ring.animate) ring.animate({ transform: ['none', 'rotate(1turn)'] }, 1200);
    var stop = new AbortController(), limit = setTimeout(function () { stop.abort(); }, 15000);
    fetch(data.pollUrl, {
      headers: { Accept: 'application/json' },
      credentials: 'same-origin', redirect: 'manual', cache: 'no-store', signal: stop.signal
    }).then(function (r) {
      if (r.status >= 500 || r.status === 429) throw new Error('busy');
      return r.text();
    }).finally(function () {
      clearTimeout(limit);
    }).then(judge, function () { say(data.offline); later(); });
  }
  if (!window.fetch || !window.AbortController) { setTimeout(leave, 1000 * data.first); return; }
  timer = setTimeout(poll, 1000 * data.first);
  // A phone that comes back from its banking app has slept through its timers.
  document.addEventListener('visibilitychange', function () { if (!document.hidden) poll(); });
})();
