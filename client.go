package paywall

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/session"
)

// axraClient is a session.Client with its connections.
type axraClient struct {
	*session.Client
	transport   *http.Transport
	isSuspended atomic.Bool
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
	config.OnBreaker = client.onBreaker
	client.Client = session.NewClient(config)
	return client
}

// onBreaker logs that calls are suspended or resumed.
func (c *axraClient) onBreaker(isOpen bool) {
	logger := caddy.Log().Named("axra") // of the running configuration
	if c.isSuspended.Store(isOpen); isOpen {
		logger.Warn("calls to Axra's API are suspended after repeated failures; retrying every ten seconds")
	} else {
		logger.Info("calls to Axra's API are resumed")
	}
}

// Destruct closes idle connections.
func (c *axraClient) Destruct() error {
	c.transport.CloseIdleConnections()
	return nil
}
