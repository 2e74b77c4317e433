package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/payments"
	"github.com/caddy-axra/paywall/ledger"
	"github.com/caddy-axra/paywall/token"
	"github.com/caddy-axra/paywall/webhook"
)

func TestTheAPISaysWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodGet, "nothing", "", http.StatusNotFound},
		{http.MethodGet, "revoke", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "keys/list", "", http.StatusMethodNotAllowed},
		{http.MethodGet, "show?id=x", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "revoke", `{"unknown":1}`, http.StatusBadRequest},
		{http.MethodPost, "list", `{"unknown":1}`, http.StatusBadRequest},
		{http.MethodPost, "show", `{"purchase":"` + strings.Repeat("x", maxBody) + `"}`, http.StatusBadRequest},
		{http.MethodPost, "report", "", http.StatusOK},
	} {
		w := r.send(test.method, test.path, strings.NewReader(test.body))
		if w.Code != test.status {
			t.Errorf("%s %s: %d, want %d: %s", test.method, test.path, w.Code, test.status, w.Body)
		}
		if want := w.Code == http.StatusMethodNotAllowed; want != (w.Header().Get("Allow") != "") {
			t.Errorf("%s %s allows %q", test.method, test.path, w.Header().Get("Allow"))
		}
	}
}

func TestErrorsHaveAStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		status int
	}{
		{ledger.ErrNotFound, http.StatusNotFound},
		{token.ErrUnknownKey, http.StatusNotFound},
		{ledger.ErrNotEmpty, http.StatusConflict},
		{ErrMaintenance, http.StatusConflict},
		{ledger.ErrNotExport, http.StatusBadRequest},
		{ledger.ErrUnavailable, http.StatusServiceUnavailable},
		{errors.New("another"), http.StatusInternalServerError},
		{refuse(http.StatusTeapot, "of a handler"), http.StatusTeapot},
	} {
		var got caddy.APIError
		if err := apiError(fmt.Errorf("doing: %w", test.err)); !errors.As(err, &got) || got.HTTPStatus != test.status {
			t.Errorf("%v becomes %v, want status %d", test.err, err, test.status)
		}
	}
	if err := apiError(nil); err != nil {
		t.Errorf("nil becomes %v", err)
	}
}

func TestKeysAreRotatedAndRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := call[[]token.KeyInfo](r, "keys list", nil)
	if keys := call[[]token.KeyInfo](r, "keys rotate", nil); len(keys) != 2 {
		t.Errorf("%v", keys)
	}
	request := RemoveKeyRequest{Key: first[0].ID, Yes: true}
	if keys := call[[]token.KeyInfo](r, "keys remove", request); len(keys) != 1 || keys[0].ID == first[0].ID {
		t.Errorf("%v", keys)
	}
	r.refused("keys remove", request, http.StatusNotFound, "no signing key has this id")
	left := call[[]token.KeyInfo](r, "keys list", nil)
	r.refused("keys remove", RemoveKeyRequest{Key: left[0].ID}, http.StatusConflict, "add --yes")
}

func TestAReplayNeedsASignatureOrTrust(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body := `{"event":"payment.completed","data":{}}`
	signed := "X-Sig: " + body + "\n\n" + body
	r.refused("webhook replay", ReplayRequest{File: []byte(body)}, http.StatusForbidden, "add --trust")
	r.refused("webhook replay", ReplayRequest{File: []byte("words"), Trust: true}, http.StatusBadRequest, "")
	if len(r.hooks.taken) != 0 {
		t.Fatalf("taken: %v", r.hooks.taken)
	}
	for name, test := range map[string]struct {
		request ReplayRequest
		signed  bool
	}{
		"signed":                     {ReplayRequest{File: []byte(signed)}, true},
		"with a line break after it": {ReplayRequest{File: []byte(signed + "\n")}, true},
		"trusted":                    {ReplayRequest{File: []byte(body), Trust: true}, false},
	} {
		if done := call[Replayed](r, "webhook replay", test.request); done.Outcome != "paid" || done.Event != "payment.completed" || done.Signed != test.signed {
			t.Errorf("%s: %+v", name, done)
		}
	}
	r.hooks.outcome = payments.Foreign
	r.refused("webhook replay", ReplayRequest{File: []byte(signed)}, http.StatusConflict, "the event is foreign: it lacks the metadata")
	r.hooks.err = errors.New("not stored")
	r.refused("webhook replay", ReplayRequest{File: []byte(signed)}, http.StatusServiceUnavailable, "not stored")
}

func TestRejectedWebhooksAreListed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.refused("webhook rejected", nil, http.StatusNotFound, "no rejected webhook is kept")
	r.hooks.rejected = []webhook.Captured{{Reason: "bad"}}
	if kept := call[[]webhook.Captured](r, "webhook rejected", nil); len(kept) != 1 || kept[0].Reason != "bad" {
		t.Errorf("%+v", kept)
	}
}

func TestACapturedWebhookIsInspected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.InspectWebhook = func(request webhook.Captured) webhook.Report {
		return webhook.Inspect(request, [][]byte{[]byte("PLANTED")}, webhook.Verifier{})
	}
	w := r.post("webhook inspect", InspectRequest{File: []byte("X-Axra-Signature: 00\n\n" + `{"event":"payout.paid"}`)})
	if body := w.Body.String(); !strings.Contains(body, `"event":"payout.paid"`) || !strings.Contains(body, "nothing fits") || strings.Contains(body, "PLANTED") {
		t.Errorf("%d %s", w.Code, body)
	}
	r.refused("webhook inspect", InspectRequest{File: []byte("{}")}, http.StatusBadRequest, "not a captured request")
}
