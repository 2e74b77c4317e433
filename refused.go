package paywall

import (
	"net/http"
	"sync"

	"github.com/caddy-axra/paywall/webhook"
)

// refusals are the webhooks that were refused last for their signature. What could be
// signed has a place of its own: junk, which anybody can send, must not push it out.
type refusals struct {
	mu       sync.Mutex
	signed   *webhook.Captured
	unsigned *webhook.Captured
}

func (r *refusals) keep(request webhook.Captured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.Signed {
		r.signed = &request
	} else {
		r.unsigned = &request
	}
}

func (r *refusals) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signed, r.unsigned = nil, nil
}

// refusedRequests are those that were kept, that which could be signed first.
func (a *App) refusedRequests() []webhook.Captured {
	kept := &a.store.refused
	kept.mu.Lock()
	defer kept.mu.Unlock()
	requests := []webhook.Captured{} // in JSON a list, be it empty
	for _, request := range []*webhook.Captured{kept.signed, kept.unsigned} {
		if request != nil {
			requests = append(requests, *request)
		}
	}
	return requests
}

// adminRefused answers `caddy axra webhook refused`.
func (a *App) adminRefused(w http.ResponseWriter, _ *http.Request) error {
	return writeAdmin(w, a.refusedRequests())
}

// keep keeps a request that was refused for its signature, if the operator wants that.
func (h *Webhook) keep(r *http.Request, body []byte, reason error) {
	if !h.KeepRefused {
		return
	}
	captured := h.app.verifier.Capture(r, body, h.app.credentials)
	captured.At, captured.Reason = now().UTC(), reason.Error()
	h.app.store.refused.keep(captured)
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
