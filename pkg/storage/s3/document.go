package s3

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// plain is a Config without its methods.
type plain Config

// document is a Config as JSON: a duration is written as 1m30s.
type document struct {
	plain
	RequestTimeout string `json:"requestTimeout,omitempty"`
}

// MarshalJSON implements json.Marshaler. No secret is written.
func (c Config) MarshalJSON() ([]byte, error) {
	d := document{plain: plain(c)}
	if c.RequestTimeout != 0 {
		d.RequestTimeout = c.RequestTimeout.String()
	}
	return json.Marshal(d)
}

// UnmarshalJSON implements json.Unmarshaler. An unknown field is an error;
// errors name the field.
func (c *Config) UnmarshalJSON(text []byte) error {
	var d document
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return fmt.Errorf("%s: unknown field", strings.Trim(name, `"`))
		}
		if wrong, is := errors.AsType[*json.UnmarshalTypeError](err); is && wrong.Field != "" {
			return fmt.Errorf("%s: must be of type %s, is %s", strings.TrimPrefix(wrong.Field, "plain."), typeName(wrong.Type.Kind()), wrong.Value)
		}
		return err
	}
	*c = Config(d.plain)
	if d.RequestTimeout == "" {
		return nil
	}
	var err error
	if c.RequestTimeout, err = time.ParseDuration(d.RequestTimeout); err != nil || c.RequestTimeout == 0 {
		return fmt.Errorf("requestTimeout: %.40q must be a duration, for example 1m", d.RequestTimeout)
	}
	return nil
}

// typeName is what JSON calls the kinds of fields that a Config has.
func typeName(kind reflect.Kind) string {
	switch kind {
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	}
	return "object"
}

// sseWords are the words of a StorageBackend and those of the driver. A document
// is written with the driver's.
var sseWords = map[string]SSE{"": SSENone, "None": SSENone, "SSE-S3": SSEAES256, string(SSEAES256): SSEAES256}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *SSE) UnmarshalText(text []byte) error {
	mode, known := sseWords[string(text)]
	if !known {
		return fmt.Errorf("sse: %.40q must be None or SSE-S3", text)
	}
	*s = mode
	return nil
}

// secrets are the fields of a Config that a document never contains, by the
// names that errors of Validate begin with.
var secrets = map[string]func(*Config, storage.Secret){
	"accessKey":    func(c *Config, v storage.Secret) { c.AccessKey = v },
	"secretKey":    func(c *Config, v storage.Secret) { c.SecretKey = v },
	"sessionToken": func(c *Config, v storage.Secret) { c.SessionToken = v },
	"caBundle":     func(c *Config, v storage.Secret) { c.CABundle = []byte(v.Reveal()) }, // certificates are public
}

// SetSecret sets a field that a document never contains, and reports whether
// there is one of that name.
func (c *Config) SetSecret(name string, value storage.Secret) bool {
	set, known := secrets[name]
	if known {
		set(c, value)
	}
	return known
}
