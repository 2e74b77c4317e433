package session

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Probe is the outcome of a harmless call.
type Probe struct {
	// Exchanged says that key and secret were exchanged for an access token. Otherwise
	// only the key was tried, with a session that Axra must reject.
	Exchanged bool
	// Created says that Axra made that session; it is unpaid and costs nothing.
	Created bool
	// Date is the time on Axra's clock; zero if it is not known.
	Date time.Time
}

// Probe checks whether Axra accepts the credentials, by a call that creates nothing: the
// token exchange or, without a secret, a session with the amount 0. It is not an error
// that Axra rejects the amount. Other errors are those of Create.
func (c *Client) Probe(ctx context.Context) (Probe, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	dated := &dateDoer{Doer: c.http}
	tried := &Client{http: dated, endpoint: c.endpoint, now: c.now} // without breaker and limits
	if with, ok := c.auth.(*exchange); ok {
		_, err := (&exchange{client: tried, key: with.key, secret: with.secret}).renew(ctx)
		return Probe{Exchanged: true, Date: dated.date}, err
	}
	credentials, err := c.auth.authorize(ctx)
	if err != nil {
		return Probe{}, err
	}
	// Axra rejects this, as fields are missing.
	err = tried.post(ctx, pathSession, map[string]any{"amount": 0, "currency": "usd"}, credentials, new(map[string]any))
	probe := Probe{Date: dated.date, Created: err == nil}
	if errors.Is(err, ErrRefused) {
		err = nil
	}
	return probe, err
}

// dateDoer remembers the Date of the last answer.
type dateDoer struct {
	Doer
	date time.Time
}

// Do sends a request.
func (d *dateDoer) Do(r *http.Request) (*http.Response, error) {
	response, err := d.Doer.Do(r)
	if err == nil {
		d.date, _ = http.ParseTime(response.Header.Get("Date"))
	}
	return response, err
}
