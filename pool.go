package paywall

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/session"
)

// pool holds what survives a reload, by kind and by the configuration that it depends on.
var pool = caddy.NewUsagePool()

type pooled[T any] struct{ value T }

// Destruct ends the background work of the value, if it has any.
func (p *pooled[T]) Destruct() error {
	if destructor, ok := any(p.value).(caddy.Destructor); ok {
		return destructor.Destruct()
	}
	return nil
}

// acquire returns a value from the pool, constructing it if necessary. The app holds it until it is cleaned up.
func acquire[T any](a *App, kind string, construct func() T, dependsOn ...any) T {
	key := fmt.Sprintf("%s %#v", kind, dependsOn)
	value, _, _ := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return &pooled[T]{construct()}, nil })
	a.shared.releases = append(a.shared.releases, func() { _, _ = pool.Delete(key) })
	return value.(*pooled[T]).value //nolint:forcetypeassert // the kind is part of the key
}

// inPool returns the values of a type in the pool. It releases the pool's lock, for which a reload waits, before
// callers use them.
func inPool[T any]() (found []T) {
	pool.Range(func(_, value any) bool {
		if each, ok := value.(*pooled[T]); ok {
			found = append(found, each.value)
		}
		return true
	})
	return found
}

// axraClient is a session.Client with its connections.
type axraClient struct {
	*session.Client
	transport *http.Transport
}

func newAxraClient(config session.ClientConfig) *axraClient {
	client := &axraClient{transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 8,
	}}
	config.HTTP = &http.Client{
		Transport: client.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect would carry our credentials along
		},
	}
	client.Client = session.NewClient(config)
	return client
}

// Destruct closes idle connections.
func (c *axraClient) Destruct() error {
	c.transport.CloseIdleConnections()
	return nil
}
