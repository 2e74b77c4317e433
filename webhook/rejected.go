package webhook

import "sync"

// Rejected keeps the requests that were rejected last for their signature: one that could be signed, and one that
// could not. Junk, which anybody can send, does not replace the first.
type Rejected struct {
	mu       sync.Mutex
	signed   *Captured
	unsigned *Captured
}

// Keep replaces the request of the same kind.
func (r *Rejected) Keep(request Captured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.Signed {
		r.signed = &request
	} else {
		r.unsigned = &request
	}
}

// Clear forgets all requests.
func (r *Rejected) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signed, r.unsigned = nil, nil
}

// All returns the requests that are kept, the one that could be signed first. It is never nil.
func (r *Rejected) All() []Captured {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests := []Captured{}
	for _, request := range []*Captured{r.signed, r.unsigned} {
		if request != nil {
			requests = append(requests, *request)
		}
	}
	return requests
}
