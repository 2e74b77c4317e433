// Package option reads the options of Caddyfile blocks. Every error names file and line.
package option

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-axra/paywall/internal/settings"
)

// Option is an option of a block. It is read with the dispenser at its name.
type Option struct {
	Name string
	Read func(*caddyfile.Dispenser) error
}

// New returns an option that is read by a function.
func New(name string, read func(*caddyfile.Dispenser) error) Option { return Option{name, read} }

// ReadBlock reads the options of a block, if there is one. The error for an unknown option lists all options and ends
// with the hint.
func ReadBlock(d *caddyfile.Dispenser, owner, hint string, options []Option) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		i := slices.IndexFunc(options, func(o Option) bool { return o.Name == d.Val() })
		if i < 0 {
			return d.Errf("%s has no option %q: it takes %s%s", owner, d.Val(), listNames(options), hint)
		}
		if err := options[i].Read(d); err != nil {
			return err
		}
	}
	return nil
}

func listNames(options []Option) string {
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.Name
	}
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// Args returns an option whose values are passed to a function. File and line are added to its error.
func Args(name string, read func(args []string) error) Option {
	return New(name, func(d *caddyfile.Dispenser) error { return located(d, read(d.RemainingArgs())) })
}

// ArgsN is Args for n values. With any other number of values, the error is the usage.
func ArgsN(name string, n int, usage string, read func(args []string) error) Option {
	return Args(name, func(args []string) error {
		if len(args) != n {
			return errors.New(usage)
		}
		return read(args)
	})
}

func located(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// Text returns an option with one value that the checks accept.
func Text(name string, target *string, checks ...func(string) error) Option {
	return Args(name, func(args []string) error {
		if len(args) != 1 || args[0] == "" {
			return fmt.Errorf("%s takes exactly one value: put text with spaces in quotes", name)
		}
		if *target != "" {
			return fmt.Errorf("%s is given twice: keep one", name)
		}
		*target = args[0]
		for _, check := range checks {
			if err := check(*target); err != nil {
				return err
			}
		}
		return nil
	})
}

// OneOf returns an option with one of the allowed values.
func OneOf(name string, target *string, allowed ...string) Option {
	return Text(name, target, func(value string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("%s %s is unknown: write %s", name, value, strings.Join(allowed, " or "))
	})
}

// Secret returns an option with the placeholder of a secret.
func Secret(name string, target *string) Option {
	read := Text(name, target, func(value string) error { return settings.CheckPlaceholder(name, value) }).Read
	return New(name, func(d *caddyfile.Dispenser) error {
		if count := d.CountRemainingArgs(); count == 0 || count == 1 && strings.TrimSpace(Next(*d)) == "" {
			return d.Errf("%s is empty: write `%s {env.NAME}`, which is read when Caddy starts ({$NAME} is replaced in the Caddyfile, here by nothing)", name, name)
		}
		return read(d)
	})
}

// Next returns the next value without consuming it.
func Next(d caddyfile.Dispenser) string {
	d.NextArg()
	return d.Val()
}

// Address returns an option with an absolute address. One with a placeholder is checked when it is resolved.
func Address(name string, target *string, withPath bool) Option {
	return Text(name, target, func(value string) error {
		if strings.Contains(value, "{") {
			return nil
		}
		if _, err := settings.BaseURL(value, withPath); err != nil {
			return fmt.Errorf("%s: %w", name, err) // without the address, which could hold a password
		}
		return nil
	})
}

// Duration returns an option with a length of time that the checks accept.
func Duration(name string, target *caddy.Duration, checks ...func(caddy.Duration) error) Option {
	return New(name, func(d *caddyfile.Dispenser) error {
		value := ""
		if err := Text(name, &value).Read(d); err != nil {
			return err
		}
		length, err := caddy.ParseDuration(value)
		switch {
		case err != nil || length <= 0:
			return d.Errf("%s: %q is not a length of time: write for example `%s 30s`", name, value, name)
		case *target != 0:
			return d.Errf("%s is given twice: keep one", name)
		}
		*target = caddy.Duration(length)
		for _, check := range checks {
			if err := check(*target); err != nil {
				return d.WrapErr(err)
			}
		}
		return nil
	})
}

// Number returns an option with a number of one or more.
func Number(name string, target *int, example string) Option {
	return Args(name, func(args []string) error {
		if len(args) != 1 || *target != 0 {
			return fmt.Errorf("%s takes one number: write `%s %s`", name, name, example)
		}
		number, err := strconv.Atoi(args[0])
		if err != nil || number < 1 {
			return fmt.Errorf("%s %q is not a number from 1 to 1000: write `%s %s`", name, args[0], name, example)
		}
		*target = number
		return nil
	})
}

// Flag returns an option without a value.
func Flag(name string, target *bool) Option {
	return New(name, func(d *caddyfile.Dispenser) error {
		if d.NextArg() {
			return d.Errf("%s takes no value", name)
		}
		*target = true
		return nil
	})
}
