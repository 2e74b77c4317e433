package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"
)

// delivery is ever new payments of the same, each signed. They are made from one sample: a load that takes
// long to make them would be measured in place of the webhook.
func (s *site) delivery(sold map[string]string) request {
	sampleSession, samplePayment := rand.Text(), rand.Text()
	sample := payment(sold, sampleSession, samplePayment)
	sessionAt, paymentAt := bytes.Index(sample, []byte(sampleSession)), bytes.Index(sample, []byte(samplePayment))
	head := []byte("POST /webhooks/axra HTTP/1.1\r\nHost: " + s.host + "\r\nContent-Type: application/json\r\n" + contentLength(len(sample)) + "\r\nX-Axra-Signature: ")
	signatureAt := len(head)
	head = append(head, strings.Repeat("0", hex.EncodedLen(sha256.Size))+"\r\n\r\n"...)
	return request{func(buffer []byte) []byte {
		begin := len(buffer)
		buffer = append(append(buffer, head...), sample...)
		all := buffer[begin:]
		body := all[len(head):]
		copy(body[sessionAt:], rand.Text()) // each is a purchase of its own
		copy(body[paymentAt:], rand.Text())
		mac := hmac.New(sha256.New, []byte(webhookSecret))
		mac.Write(body)
		hex.Encode(all[signatureAt:], mac.Sum(nil))
		return buffer
	}, http.StatusOK, -1}
}

func payment(sold map[string]string, session, id string) []byte {
	metadata := maps.Clone(sold)
	metadata["sessionId"] = "cs_" + session
	raw, err := json.Marshal(map[string]any{
		"event": "payment.completed", "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"paymentId": "bpay_" + id, "amount": json.Number("5.00"), "currency": "USD", "metadata": metadata},
	})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return raw
}
