package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
)

// sign sets the signature, which covers the bytes as they are sent. [manage/webhooks]
func (s *Sandbox) sign(h http.Header, secret string, body []byte) {
	var unix string
	if s.cfg.SignatureScheme == SchemeTimestampBody {
		unix = strconv.FormatInt(s.now().Unix(), 10)
		h.Set(s.cfg.TimestampHeader, unix)
	}
	h.Set(s.cfg.SignatureHeader, s.Signature(secret, unix, body))
}

// Signature returns the value of the signature header for a body. The Unix
// time matters only with SchemeTimestampBody.
func (s *Sandbox) Signature(secret, unix string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	if s.cfg.SignatureScheme == SchemeTimestampBody {
		mac.Write([]byte(unix + "."))
	}
	mac.Write(body)
	prefix := ""
	if s.cfg.SignaturePrefix {
		prefix = "sha256="
	}
	return prefix + hex.EncodeToString(mac.Sum(nil))
}
