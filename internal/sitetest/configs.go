package sitetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FiveLines is the Caddyfile at the top of the design, with what a test must add.
const FiveLines = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	axra_paywall /premium/* {
		price  5.00 usd
		access 30d
	}
	root ROOT
	file_server
}
`

// Member is FiveLines with a pass and more options.
func Member(options ...string) string {
	return strings.Replace(FiveLines, "access 30d", "access 30d\n\t\tpass member\n\t\t"+strings.Join(options, "\n\t\t"), 1)
}

// GateBefore is a site with a GATE before an UPSTREAM.
const GateBefore = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	axra_paywall GATE {
		price 5.00 usd
	}
	UPSTREAM
}
`

// GateFor is GateBefore with its words filled in.
func GateFor(gate, upstream string) string {
	return strings.NewReplacer("GATE", gate, "UPSTREAM", upstream).Replace(GateBefore)
}

// Echo starts an application and returns its address.
func Echo(t testing.TB, answer http.HandlerFunc) string {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
