package paywall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/token"
)

// storedKeys, in place of the first file, leaves signing to the keys in storage.
const storedKeys = "stored"

// maxKeyFile bounds what is read of a key's file, in bytes.
const maxKeyFile = 16 << 10

var (
	// The value may be the secret itself, by mistake, so it is not repeated.
	errKeyPath = errors.New("signing_key takes files by their absolute paths: write for example `signing_key /etc/caddy/axra-signing.pem`")
	// {file.…} would be replaced with the key.
	errKeyContents = errors.New("signing_key takes the path of a file, not what is in it: write it without {file.…}")
	errKeyStored   = errors.New("signing_key: `stored` stands first, once: the keys in storage sign, and the files after it only verify")
)

// checkSigningKeys checks what can be said before placeholders are replaced.
func checkSigningKeys(files []string) error {
	for i, file := range files {
		switch {
		case file == storedKeys:
			if i > 0 {
				return errKeyStored
			}
		case strings.Contains(file, "{file."):
			return errKeyContents
		case !strings.HasPrefix(file, "{") && !isAbsolute(file):
			return errKeyPath
		}
	}
	return nil
}

// isAbsolute takes what other systems write as well: a Caddyfile may be adapted elsewhere.
func isAbsolute(path string) bool { return strings.HasPrefix(path, "/") || filepath.IsAbs(path) }

// provisionOwnKeys reads the owner's own keys, and settles the algorithm. They are part
// of this configuration and not of what it shares with others: what the running one
// signs and accepts stays as it is while another is being tried.
func (a *App) provisionOwnKeys() (own []token.OwnKey, sign bool, err error) {
	switch a.SigningAlgorithm {
	case "", token.HS256, token.EdDSA:
	default:
		return nil, false, fmt.Errorf("axra: signing_algorithm %q is unknown: write %s or %s", a.SigningAlgorithm, token.HS256, token.EdDSA)
	}
	if err := checkSigningKeys(a.SigningKeys); err != nil {
		return nil, false, fmt.Errorf("axra: %w", err)
	}
	files := a.SigningKeys
	if sign = len(files) > 0 && files[0] != storedKeys; !sign && len(files) > 0 {
		files = files[1:]
	}
	for _, file := range files {
		key, err := a.readOwnKey(file)
		if err != nil {
			return nil, false, fmt.Errorf("axra: signing_key %s: %w", file, err)
		}
		own = append(own, key)
	}
	if sign && a.SigningAlgorithm != "" && a.SigningAlgorithm != own[0].Algorithm() {
		return nil, false, fmt.Errorf("axra: signing_key %s is for %s, and signing_algorithm says %s: leave out signing_algorithm, or use another key",
			files[0], own[0].Algorithm(), a.SigningAlgorithm)
	}
	if a.SigningAlgorithm == "" {
		a.SigningAlgorithm = token.HS256
	}
	return own, sign, nil
}

func (a *App) readOwnKey(configured string) (token.OwnKey, error) {
	path, err := caddy.NewReplacer().ReplaceOrErr(configured, true, true)
	if err != nil || path == "" {
		return token.OwnKey{}, errors.New("is empty in the running Caddy: set that variable and restart")
	}
	if !isAbsolute(path) {
		return token.OwnKey{}, errKeyPath
	}
	info, err := os.Stat(path)
	if err != nil {
		return token.OwnKey{}, withoutPath(err)
	}
	if !info.Mode().IsRegular() { // a pipe would hold up the start
		return token.OwnKey{}, errors.New("is not a file")
	}
	if info.Size() > maxKeyFile {
		return token.OwnKey{}, fmt.Errorf("is longer than %d bytes: that is no key", maxKeyFile)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		a.logger.Warn("a signing key can be read by others than its owner: chmod 600 its file",
			zap.String("file", configured), zap.Stringer("mode", mode))
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the owner of the site names it
	if err != nil {
		return token.OwnKey{}, withoutPath(err)
	}
	return token.ParseOwnKey(raw)
}

// withoutPath is the cause without the path, which a placeholder could have made of a
// secret.
func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("cannot be read: %w", at.Err)
	}
	return err
}

// rotateKeys adds a signing key to those in storage, which takes over in a few minutes,
// and returns its id. Nobody is logged out.
func (a *App) rotateKeys(ctx context.Context) (kid string, err error) {
	kid, err = a.keyring.Rotate(ctx, a.storage, a.SigningAlgorithm)
	if err != nil {
		return "", fmt.Errorf("rotating the signing keys: %w", err)
	}
	a.logger.Info("signing key added; it signs once every node has read it", zap.String("kid", kid))
	return kid, nil
}

// removeKey takes a signing key away that has leaked: what it has signed is void. The
// error wraps token.ErrUnknownKey or token.ErrOwnKey where the key is not in storage.
func (a *App) removeKey(ctx context.Context, kid string) error {
	replacement, err := a.keyring.Remove(ctx, a.storage, kid, a.SigningAlgorithm)
	switch {
	case errors.Is(err, token.ErrOwnKey):
		return fmt.Errorf("%w: take it out of signing_key and reload", err)
	case err != nil:
		return fmt.Errorf("removing a signing key: %w", err)
	}
	a.logger.Warn("signing key removed; what it has signed is void", zap.String("kid", kid), zap.String("replacement", replacement))
	return nil
}

// listKeys describes the signing keys, without their secrets.
func (a *App) listKeys() []token.KeyInfo { return a.keyring.List(a.SigningAlgorithm) }
