package storage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/storage"
)

const value = "hunter2-the-value"

type holder struct {
	Public  storage.Secret
	private storage.Secret
	pointer *storage.Secret
}

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	s := storage.NewSecret(value)
	h := holder{s, s, &s}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%10s", "%t", "%c", "%w"} {
		for _, v := range []any{s, &s, h, &h, []storage.Secret{s}, map[string]holder{"k": h}, map[storage.Secret]int{s: 1}} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
	}
	for _, v := range []any{s, &s, h, []storage.Secret{s}, map[storage.Secret]int{s: 1}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed = append(printed, string(text))
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("msg", "secret", s, "holder", h, "pointer", &s)
	}
	printed = append(printed, log.String(), s.String(), fmt.Errorf("wrapped: %v", s).Error())
	for _, text := range printed {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("printed: %s", text)
		}
	}
	if got := fmt.Sprintf("%v %s %q", s, s, s); got != "*** *** ***" {
		t.Errorf("masked as %s", got)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := storage.NewSecret(value)
	if s.Reveal() != value || s.IsZero() {
		t.Errorf("revealed %q, zero %v", s.Reveal(), s.IsZero())
	}
	if s != storage.NewSecret(strings.Clone(value)) || s == storage.NewSecret("another") {
		t.Error("secrets do not compare by value")
	}
	zero := storage.NewSecret("")
	if !zero.IsZero() || zero != (storage.Secret{}) || zero.Reveal() != "" || zero.String() != "***" {
		t.Error("an empty value is not the zero Secret")
	}
	if err := json.Unmarshal([]byte(`"in the document"`), &s); err == nil {
		t.Error("read from a document")
	}
}
