package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// stub answers each call to Axra's API at once with a new checkout session. The sandbox
// does more, and could not keep up.
type stub struct {
	base string

	mu    sync.Mutex
	calls int
	path  string // of the last call
	body  []byte // of the last call
}

func (b *bench) newStub() (*stub, error) {
	base, serve, err := b.listen()
	if err != nil {
		return nil, err
	}
	s := &stub{base: base}
	serve(s)
	return s, nil
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAnswer))
	if err != nil {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.calls++
	s.path, s.body = r.URL.Path, body
	s.mu.Unlock()
	id := "cs_" + rand.Text()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"success":true,"data":{"sessionId":%q,"checkoutUrl":%q,"expiresAt":%q}}`,
		id, s.base+"/checkout/"+id+"?token="+id, time.Now().UTC().Add(25*time.Minute).Format(time.RFC3339))
}

// count is how many calls there have been.
func (s *stub) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// last is what the last call was.
func (s *stub) last() (url string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base + s.path, s.body
}
