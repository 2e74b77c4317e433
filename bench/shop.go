package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
)

const card = "4242 4242 4242 4242"

// shop is the sandbox of Axra for one site.
type shop struct {
	*sandbox.Sandbox
	url string
}

// newShop opens the sandbox; its webhooks go to the site.
func (b *bench) newShop(s *site) (*shop, error) {
	base, serve, err := b.listen()
	if err != nil {
		return nil, err
	}
	axra, err := sandbox.New(sandbox.Config{
		BaseURL: base, APIKey: apiKey, WebhookSecret: webhookSecret,
		WebhookURL: "http://" + s.host + "/webhooks/axra",
	})
	if err != nil {
		return nil, err
	}
	serve(axra)
	b.onStop(func() { _ = axra.Close() })
	return &shop{axra, base}, nil
}

// listen opens an HTTP server in this process; what is served may need its address.
func (b *bench) listen() (base string, serve func(http.Handler), err error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute}
	b.onStop(func() { _, _ = listener.Close(), server.Close() })
	return "http://" + listener.Addr().String(), func(handler http.Handler) {
		server.Handler = handler
		go func() { _ = server.Serve(listener) }() // ends with the section
	}, nil
}

// navigation is what a browser sends when a person opens a page.
var navigation = []string{
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
}

// browser is a visitor with cookies, who follows no redirect.
type browser struct {
	*http.Client
	site string
}

func newBrowser(s *site) browser {
	jar, _ := cookiejar.New(nil) // fails never
	return browser{&http.Client{
		Jar: jar, Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, "http://" + s.host}
}

// open navigates to an address.
func (v browser) open(ctx context.Context, target string) (status int, location string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	for _, line := range navigation {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	response, err := v.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Header.Get("Location"), err
}

// cookie is the visitor's only cookie whose name holds a text.
func (v browser) cookie(name string) (string, error) {
	site, err := url.Parse(v.site)
	if err != nil {
		return "", err
	}
	for _, cookie := range v.Jar.Cookies(site) {
		if strings.Contains(cookie.Name, name) {
			return cookie.Name + "=" + cookie.Value, nil
		}
	}
	return "", fmt.Errorf("the visitor has no cookie %s", name)
}

// buy lets a visitor pay with a card, come back, and returns the cookie that they got.
func (a *shop) buy(ctx context.Context, s *site) (cookie string, session sandbox.Session, err error) {
	v, session, back, err := a.pay(ctx, s)
	if err != nil {
		return "", session, err
	}
	cookie, err = v.comeBack(ctx, back)
	return cookie, session, err
}

// pay lets a visitor pay with a card. The webhook has been answered when it returns where they come back to.
func (a *shop) pay(ctx context.Context, s *site) (v browser, session sandbox.Session, back string, err error) {
	v = newBrowser(s)
	status, checkout, err := v.open(ctx, v.site+premium(small))
	if err != nil {
		return v, session, "", err
	}
	if session, err = a.session(checkout); err != nil {
		return v, session, "", fmt.Errorf("a visitor is answered with %d: %w", status, err)
	}
	outcome, err := a.Pay(session.ID, sandbox.PayWith{Card: card})
	if err != nil || outcome.Status != sandbox.OutcomePaid {
		return v, session, "", errors.Join(err, fmt.Errorf("paying: %s", outcome.Status))
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := a.Idle(ctx); err != nil {
		return v, session, "", fmt.Errorf("the webhook: %w", err)
	}
	return v, session, outcome.Redirect, nil
}

// comeBack lets a visitor who has paid come back, and returns the cookie that they got.
func (v browser) comeBack(ctx context.Context, back string) (cookie string, err error) {
	status, _, err := v.open(ctx, back)
	if err != nil || status != http.StatusSeeOther {
		return "", errors.Join(err, fmt.Errorf("coming back is answered with %d", status))
	}
	return v.cookie("axra_t_")
}

func (a *shop) session(checkout string) (sandbox.Session, error) {
	for _, session := range a.Sessions() {
		if session.CheckoutURL == checkout {
			return session, nil
		}
	}
	return sandbox.Session{}, errors.New("not sent to a checkout")
}

// metadata is what was sold in a session, as its events repeat it.
func metadata(session sandbox.Session) (map[string]string, error) {
	sold := make(map[string]string, len(session.Metadata))
	for name, raw := range session.Metadata {
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, fmt.Errorf("metadata %s: %w", name, err)
		}
		sold[name] = value
	}
	return sold, nil
}
