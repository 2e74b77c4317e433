package paywall

import "net/http"

// keep keeps a request that was refused for its signature, if the operator wants that.
func (h *Webhook) keep(r *http.Request, body []byte, reason error) {
	if !h.KeepRefused {
		return
	}
	captured := h.app.verifier.Capture(r, body, h.app.credentials)
	captured.At, captured.Reason = now().UTC(), reason.Error()
	h.app.store.rejected.Keep(captured)
}

// keepUnread keeps a request whose body has not been read. One that is too large or
// too slow is not kept.
func (h *Webhook) keepUnread(w http.ResponseWriter, r *http.Request, reason error) {
	if !h.KeepRefused {
		return
	}
	if body, status := readBody(w, r); status == http.StatusOK {
		h.keep(r, body, reason)
	}
}
