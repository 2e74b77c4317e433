package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-axra/paywall/internal/unpack"
	"github.com/caddy-axra/paywall/sandbox"
)

// axra is the sandbox, which needs no Caddy.
type axra struct {
	sandbox *sandbox.Sandbox
	server  *http.Server
}

func startSandbox(ctx context.Context, data string, at addresses) (*axra, error) {
	stand, err := sandbox.New(sandbox.Config{
		BaseURL:    "http://" + at.axra,
		WebhookURL: "http://" + at.site + "/webhooks/axra",
		StateFile:  filepath.Join(data, "sandbox.json"),
	})
	if err != nil {
		return nil, fmt.Errorf("starting the sandbox: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", at.axra)
	if err != nil {
		return nil, errors.Join(err, stand.Close())
	}
	a := &axra{sandbox: stand, server: &http.Server{Handler: stand, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = a.server.Serve(listener) }() // until stop
	return a, nil
}

// stop ends its deliveries and writes its state.
func (a *axra) stop() {
	if err := errors.Join(a.server.Close(), a.sandbox.Close()); err != nil {
		fmt.Fprintln(os.Stderr, "cluster: the sandbox:", err)
	}
}

// unpackSite writes the embedded site to a folder that Caddy can serve.
func unpackSite(to string) error {
	files, err := fs.Sub(site, "site")
	if err != nil {
		return err
	}
	return unpack.To(to, files)
}
