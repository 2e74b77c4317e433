package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
)

func init() {
	caddy.RegisterModule(new(storing))
	httpcaddyfile.RegisterHandlerDirective("bench_store", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		s := new(storing)
		if !h.Next() || !h.AllArgs(&s.File) {
			return nil, h.ArgErr()
		}
		return s, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("bench_store", httpcaddyfile.Before, "basic_auth")
}

// storing reads a request and stores the records of a file under ever new keys, one
// after the other: what Caddy, HTTP and the load take of a webhook, whatever it does.
type storing struct {
	File    string `json:"file,omitempty"`
	records []record
	storage certmagic.Storage
}

// CaddyModule returns the Caddy module information.
func (*storing) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_store", New: func() caddy.Module { return new(storing) }}
}

// Provision reads the records.
func (s *storing) Provision(ctx caddy.Context) error {
	s.storage = ctx.Storage()
	raw, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, &s.records)
}

func (s *storing) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if err := storeAll(r.Context(), s.storage, s.records); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
