package webhook

import "sync"

// Rejected keeps the last two requests that were rejected for their signature: one that could be signed, and one that
// could not. Junk, which anyone can send, does not replace the first.
type Rejected struct {
	mu               sync.Mutex
	signed, unsigned []Captured // at most one each
}

// Keep replaces the request of the same kind.
func (r *Rejected) Keep(request Captured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.Signed {
		r.signed = []Captured{request}
	} else {
		r.unsigned = []Captured{request}
	}
}

// All returns the kept requests, the one that could be signed first. It is never nil.
func (r *Rejected) All() []Captured {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]Captured{}, r.signed...), r.unsigned...)
}
