
(function () {
  'use strict';
  var data = document.body.dataset, hash = location.hash;
  if (hash.length > 1 && hash.length <= 256) {
    document.cookie = data.cookie + '=' + encodeURIComponent(hash) + '; path=' + location.pathname + '; max-age=86400; samesite=lax' +
      (location.protocol === 'https:' ? '; secure' : '');
  }
  if (data.next) location.replace(data.next);
})();
