package paywall

import (
	"net/http"
	"time"

	"github.com/caddy-axra/paywall/session"
)

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
