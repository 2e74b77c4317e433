package sitetest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// WebhookSecret is what the sandbox signs with.
const WebhookSecret = "bs_test_sandbox"

// Sign signs a body as Axra does.
func Sign(body []byte, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Deliver sends an event as Axra would.
func (w *World) Deliver(body []byte, signature string) Reply {
	w.T.Helper()
	header := http.Header{"Content-Type": {"application/json"}}
	if signature != "" {
		header.Set("X-Axra-Signature", signature)
	}
	return w.Visitor().Do(http.MethodPost, "/webhooks/axra", header, bytes.NewReader(body))
}

// Send delivers an event that is signed well.
func (w *World) Send(event any) Reply {
	w.T.Helper()
	body := Encode(w.T, event)
	return w.Deliver(body, Sign(body, WebhookSecret))
}

// Started opens a checkout and returns its session and the event that would
// complete it.
func (v *Visitor) Started(target string) (session string, event map[string]any) {
	v.w.T.Helper()
	v.Open(target).WantCheckout(v.w.T, v.w)
	sessions := v.w.Sandbox.Sessions()
	newest := sessions[0]
	for _, each := range sessions {
		if each.CreatedAt.After(newest.CreatedAt) {
			newest = each
		}
	}
	metadata := map[string]any{"sessionId": newest.ID}
	for name, value := range newest.Metadata {
		var decoded any
		must(v.w.T, json.Unmarshal(value, &decoded))
		metadata[name] = decoded
	}
	return newest.ID, map[string]any{
		"event": "payment.completed", "timestamp": v.w.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{
			"paymentId": "bpay_" + newest.ID, "amount": 5.00, "currency": "USD", "metadata": metadata,
		},
	}
}

// Encode writes an event as JSON.
func Encode(t testing.TB, event any) []byte {
	t.Helper()
	raw, err := json.Marshal(event)
	must(t, err)
	return raw
}
