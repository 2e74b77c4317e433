package paywall

import (
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/session"
)

// axraClient is a session.Client with its connections.
type axraClient struct {
	*session.Client
	transport   *http.Transport
	logger      atomic.Pointer[zap.Logger] // of the configuration that was started last
	isSuspended atomic.Bool
}

func newAxraClient(config session.ClientConfig) *axraClient {
	client := &axraClient{transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 8,
	}}
	client.logger.Store(zap.NewNop())
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
	switch {
	case c.isSuspended.Swap(isOpen) == isOpen:
	case isOpen:
		c.logger.Load().Warn("calls to Axra's API are suspended after repeated failures; retrying every ten seconds")
	default:
		c.logger.Load().Info("calls to Axra's API are resumed")
	}
}

// suspended returns 1 while calls are suspended.
func (c *axraClient) suspended() float64 {
	if c.isSuspended.Load() {
		return 1
	}
	return 0
}

// Destruct closes idle connections.
func (c *axraClient) Destruct() error {
	c.transport.CloseIdleConnections()
	return nil
}
