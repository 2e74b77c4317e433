// Package settings checks and resolves the secrets, addresses and database of a configuration. Errors name the fix, and
// quote nothing that could be a secret.
package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Secret resolves the placeholder of a secret; empty if none is configured. It rejects a literal, which Caddy's admin
// API would show and its autosaved configuration would contain.
func Secret(name, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	if err := CheckPlaceholder(name, value); err != nil {
		return "", err
	}
	resolved := strings.TrimSpace(resolve(value))
	if resolved == "" {
		return "", fmt.Errorf("%s %s is empty in the running Caddy: set that variable and restart, or use {file./path}", name, value)
	}
	return resolved, nil
}

// resolve replaces the placeholders of a value; empty: one of them is unknown or empty.
func resolve(value string) string {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
	if err != nil {
		return ""
	}
	return resolved
}

// CheckPlaceholder returns an error if the value of a secret is not a placeholder.
func CheckPlaceholder(name, value string) error {
	content, isOpened := strings.CutPrefix(value, "{")
	content, isClosed := strings.CutSuffix(content, "}")
	isKnown := strings.HasPrefix(content, "env.") || strings.HasPrefix(content, "file.")
	if isOpened && isClosed && isKnown && !strings.ContainsAny(content, "{}") {
		return nil
	}
	return fmt.Errorf("%s must be a placeholder, so that the secret stays out of the configuration: "+
		"write {env.NAME} or {file./path} (not {$NAME}, which Caddy expands into the configuration)", name)
}

// Secrets are those of an Axra business.
type Secrets struct {
	Key, Secret string   // of the API
	Webhook     [][]byte // which may sign webhooks
}

// ResolveSecrets resolves the placeholders of all secrets. Without webhook secrets, the API secret verifies webhooks.
func ResolveSecrets(key, secret string, webhooks []string) (s Secrets, err error) {
	if s.Key, err = Secret("api_key", key); err != nil {
		return s, err
	}
	if s.Secret, err = Secret("api_secret", secret); err != nil {
		return s, err
	}
	if s.Secret != "" && s.Key == "" {
		return s, errors.New("api_secret is set without api_key: add `api_key {env.AXRA_API_KEY}`")
	}
	for _, webhook := range webhooks {
		resolved, err := Secret("webhook_secret", webhook)
		if err != nil {
			return s, err
		}
		if resolved == "" {
			return s, errors.New("webhook_secret is empty: anyone could sign with it; remove it or give it a value")
		}
		s.Webhook = append(s.Webhook, []byte(resolved))
	}
	if len(s.Webhook) == 0 && s.Secret != "" {
		s.Webhook = [][]byte{[]byte(s.Secret)}
	}
	return s, nil
}
