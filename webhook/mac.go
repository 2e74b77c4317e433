package webhook

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// readMAC reads a header that holds one HMAC-SHA256 and nothing else.
func readMAC(value string) ([]byte, bool) {
	return decodeMAC(strings.TrimPrefix(strings.TrimSpace(value), "sha256="))
}

// decodeMAC reads 32 bytes in hex or base64; the length tells which.
func decodeMAC(value string) ([]byte, bool) {
	var mac []byte
	var err error
	if len(value) == hex.EncodedLen(sha256.Size) {
		mac, err = hex.DecodeString(value)
	} else {
		mac, err = decodeBase64(value)
	}
	return mac, err == nil && len(mac) == sha256.Size
}

// decodeBase64 reads both alphabets, padded or not. It accepts only the canonical
// spelling of the bytes.
func decodeBase64(value string) ([]byte, error) {
	encoding := base64.StdEncoding
	if strings.ContainsAny(value, "-_") {
		encoding = base64.URLEncoding
	}
	if strings.ContainsAny(value, "\r\n") { // which the decoder would skip
		return nil, base64.CorruptInputError(strings.IndexAny(value, "\r\n"))
	}
	if !strings.HasSuffix(value, "=") {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	return encoding.Strict().DecodeString(value)
}
