package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-axra/paywall"
)

// roleVariable names the environment variable that makes this binary one of the
// processes that are measured.
const roleVariable = "PAYWALL_BENCH_ROLE"

// The roles.
const (
	roleCaddy = "caddy" // Caddy with the Caddyfile of the argument
	roleAuth  = "auth"  // what forward_auth asks, at the address of the argument
	rolePost  = "post"  // posts the file of the second argument to the URL of the first
)

// play does what a role does until the input ends. The command holds the other end
// of it: where the command ends, in whatever way, so does the role.
func play(role string, args []string, in io.Reader) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, in)
	}()
	switch role {
	case roleCaddy:
		return playCaddy(args[0], ended)
	case roleAuth:
		return playAuth(args[0], ended)
	case rolePost:
		return playPost(args[0], args[1], ended)
	default:
		return fmt.Errorf("no role is named %q", role)
	}
}

func playCaddy(file string, ended <-chan struct{}) error {
	raw, err := os.ReadFile(file) //nolint:gosec // the command has written it
	if err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(raw, map[string]any{"filename": file})
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	<-ended
	return nil
}

// playAuth lets everybody in, as cheaply as net/http can.
func playAuth(address string, ended <-chan struct{}) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Pass", passName)
	})}
	go func() {
		<-ended
		_ = server.Close() // the process ends anyway
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// playPost posts in a closed loop over keep-alive connections.
func playPost(url, file string, ended <-chan struct{}) error {
	body, err := os.ReadFile(file) //nolint:gosec // the command has written it
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		<-ended
		stop()
	}()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: answerWithin}
	failed := make(chan error, connections)
	for range connections {
		go func() {
			for {
				if err := post(ctx, client, url, body); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// post is what any client of Axra's API has to do for one call.
func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("X-Api-Key", apiKey)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("a bare POST is answered with %s", response.Status)
	}
	return nil
}
