package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Paths of Axra's API, below the endpoint.
const (
	pathSession = "/business/payment/session"
	pathToken   = "/business/auth/token" //nolint:gosec // no credential
)

// maxAnswer bounds an answer in bytes; the documented ones are below 1 KB.
const maxAnswer = 64 << 10

// post sends one JSON call and reads its answer, bare or in Axra's envelope.
func (c *Client) post(ctx context.Context, path string, body any, given *credentials, into any) error {
	began := time.Now()
	err := c.send(ctx, path, body, given, into)
	if c.config.OnCall != nil {
		c.config.OnCall(Call{Name: path[strings.LastIndexByte(path, '/')+1:], Outcome: outcomeOf(ctx, err), Took: time.Since(began)})
	}
	return err
}

func (c *Client) send(ctx context.Context, path string, body any, given *credentials, into any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.Endpoint+path, bytes.NewReader(encoded))
	if err != nil {
		return fmt.Errorf("building the request: %w", err)
	}
	if given != nil {
		request.Header = given.header.Clone()
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := c.config.HTTP.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, cause(err))
	}
	defer response.Body.Close()
	if c.onAnswer != nil {
		c.onAnswer(response.Header)
	}
	if err := checkStatus(response, c.config.Now()); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: reading its answer: %w", ErrUnavailable, cause(err))
	case len(raw) > maxAnswer:
		return fmt.Errorf("%w: its answer is longer than %d bytes", ErrUnavailable, maxAnswer)
	}
	return decodeAnswer(raw, into)
}

func decodeAnswer(raw []byte, into any) error {
	var envelope struct {
		Success *bool           `json:"success"`
		Data    json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(raw, &envelope)
	if err == nil && envelope.Success != nil {
		if !*envelope.Success {
			return fmt.Errorf("%w: success is false", ErrRefused)
		}
		raw = envelope.Data
	}
	if err != nil || json.Unmarshal(raw, into) != nil {
		return fmt.Errorf("%w: its answer is not of the documented form", ErrUnavailable)
	}
	return nil
}

func checkStatus(response *http.Response, now time.Time) error {
	switch status := response.StatusCode; {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: it answered with a redirect, which is not followed", ErrUnavailable)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w (status %d)", ErrCredentials, status)
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", ErrUnavailable, &backoff.RetryAfterError{Duration: retryAfter(response.Header, now)})
	case status >= 500:
		return fmt.Errorf("%w (status %d)", ErrUnavailable, status)
	default:
		return fmt.Errorf("%w (status %d)", ErrRefused, status)
	}
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3); ten seconds without one.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, 24*3600)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 10 * time.Second
}

// cause returns why a request failed, up to the first quotation mark. net/http quotes
// the address and what the server sent, which may hold credentials.
func cause(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	text, _, quotes := strings.Cut(err.Error(), `"`)
	if !quotes {
		return err
	}
	return errors.New(strings.TrimSpace(text))
}

// RetryAfter returns how long to wait before trying again after an error of
// Create, between one second and five minutes.
func RetryAfter(err error) time.Duration {
	var wait *backoff.RetryAfterError
	if errors.As(err, &wait) {
		return min(max(wait.Duration, time.Second), 5*time.Minute)
	}
	return 10 * time.Second
}

// Call is a finished call to Axra's API. A checkout session may take several: the
// exchange for an access token, and retries.
type Call struct {
	Name    string // session, or token: the exchange for an access token
	Outcome string // ok, unavailable, timeout, throttled, credentials, refused, or left: the visitor did not wait
	Took    time.Duration
}

func outcomeOf(ctx context.Context, err error) string {
	var wait *backoff.RetryAfterError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &wait):
		return "throttled"
	case errors.Is(err, ErrCredentials):
		return "credentials"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(ctx.Err(), context.Canceled):
		return "left"
	case ctx.Err() != nil:
		return "timeout"
	}
	return "unavailable"
}
