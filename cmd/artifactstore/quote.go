package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// What packages, buckets and servers say may hold anything. Nothing of it
// reaches a terminal that would obey it, hide it or reorder it.

// hidden reports whether a character is not printed as itself: control
// characters, marks of direction, spaces other than ASCII's, and what looks like
// nothing although it counts as a letter, a mark or a symbol.
func hidden(r rune) bool {
	return !strconv.IsPrint(r) || r == brailleBlank || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

const brailleBlank = '\u2800'

// shown returns a text for a cell or a line: quoted as in Go if it needs it.
func shown(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, hidden) && strings.TrimSpace(text) == text {
		return text
	}
	return printable(strconv.Quote(text))
}

// printable returns a text without quotes around it, with escapes where needed.
func printable(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case hidden(r):
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			out.WriteRune(r)
		}
		text = text[size:]
	}
	return out.String()
}

// encodeJSON returns a JSON text and a line end. Its strings have escapes for
// hidden characters, which mean the same to programs.
func encodeJSON(value any, indent string) ([]byte, error) {
	text, err := plainJSON(value, indent)
	if err != nil || !bytes.ContainsFunc(text, late) {
		return text, err
	}
	return escape(text, func(r rune) string {
		if first, second := utf16.EncodeRune(r); first != utf8.RuneError {
			return fmt.Sprintf(`\u%04x\u%04x`, first, second)
		}
		return fmt.Sprintf(`\u%04x`, r)
	}), nil
}

// encodeYAML returns a YAML text. If it has hidden characters, it is in flow
// style, whose strings have escapes.
func encodeYAML(value any) ([]byte, error) {
	text, err := plainJSON(value, "  ")
	if err != nil {
		return nil, err
	}
	if !bytes.ContainsFunc(text, late) {
		return yaml.JSONToYAML(text)
	}
	return escape(text, func(r rune) string { return fmt.Sprintf(`\U%08x`, r) }), nil
}

func plainJSON(value any, indent string) ([]byte, error) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return encoded.Bytes(), err
}

// late reports whether a character is hidden and encoding/json leaves it as it
// is. Only strings hold any.
func late(r rune) bool { return r >= 0x7f && hidden(r) }

func escape(text []byte, as func(rune) string) []byte {
	var out bytes.Buffer
	for _, r := range string(text) {
		if late(r) {
			out.WriteString(as(r))
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}
