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

// unpack writes the embedded site to a folder that the nodes can serve.
func unpack(to string) error {
	return fs.WalkDir(site, "site", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel("site", path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		content, err := site.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}
