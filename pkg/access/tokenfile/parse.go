package tokenfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/pkg/access"
	"github.com/coulomb/artifact-store/pkg/routing"
)

const (
	// maxTokens, and how many rules and names each may have.
	maxTokens = 1000
	maxRules  = 64
	maxNames  = 256
	// minToken in bytes: a shorter token can be guessed from its SHA-256, or over
	// the network.
	minToken = 16
	// anything matches every resource, verb or name.
	anything = "*"
)

// document is the content of the file.
type document struct {
	Tokens []struct {
		Name   string         `json:"name"`
		SHA256 string         `json:"sha256"`
		Token  string         `json:"token"`
		Allow  []documentRule `json:"allow"`
	} `json:"tokens"`
}

type documentRule struct {
	Resource string   `json:"resource"`
	Verbs    []string `json:"verbs"`
	Names    []string `json:"names"`
}

// rule allows verbs on a resource.
type rule struct {
	resource string
	verbs    []string
	names    []routing.Glob // none: all
}

func (r rule) allows(what access.Action) bool {
	if r.resource != anything && r.resource != what.Resource {
		return false
	}
	if !slices.Contains(r.verbs, anything) && !slices.Contains(r.verbs, what.Verb) {
		return false
	}
	if len(r.names) == 0 {
		return true
	}
	return slices.ContainsFunc(r.names, func(name routing.Glob) bool {
		// An action on all needs the permission for all, which no other glob gives.
		return name == anything || what.Name != "" && name.Match(what.Name)
	})
}

var (
	// holderName: no spaces, no characters with a meaning in a log or a shell, and
	// no colon, as in the names that Kubernetes gives.
	holderName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$`)
	nameGlob   = regexp.MustCompile(`^[A-Za-z0-9_.*?+-]{1,128}$`)
	// tokenText is what a header can carry: visible ASCII.
	tokenText = regexp.MustCompile(`^[!-~]+$`)
)

// parse reads the file's content. Errors name the line or the field, and never show a token.
func parse(content []byte) (*table, error) {
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return nil, withoutContent(err)
	}
	var d document
	strict, err := json.UnmarshalStrict(asJSON, &d)
	if err := errors.Join(append(strict, err)...); err != nil {
		return nil, err
	}
	if len(d.Tokens) > maxTokens {
		return nil, fmt.Errorf("tokens: must be at most %d, not %d", maxTokens, len(d.Tokens))
	}
	t := &table{byHash: map[[sha256.Size]byte]*entry{}, byName: map[string]*entry{}}
	for i, written := range d.Tokens {
		field := fmt.Sprintf("tokens[%d]", i)
		e := &entry{name: written.Name}
		if !holderName.MatchString(e.name) {
			return nil, fmt.Errorf("%s.name: %.80q must be 1 to 128 letters, digits and \"._@-\", beginning with a letter or digit", field, e.name)
		}
		if t.byName[e.name] != nil {
			return nil, fmt.Errorf("%s.name: %q is used twice", field, e.name)
		}
		if e.hash, err = hashOf(written.SHA256, written.Token); err != nil {
			return nil, fmt.Errorf("%s.%w", field, err)
		}
		if other := t.byHash[e.hash]; other != nil {
			return nil, fmt.Errorf("%s: has the same token as %q", field, other.name)
		}
		if e.rules, err = rulesOf(written.Allow); err != nil {
			return nil, fmt.Errorf("%s.%w", field, err)
		}
		t.byHash[e.hash], t.byName[e.name] = e, e
	}
	return t, nil
}

// withoutContent keeps only the line number of a YAML error. Some errors quote
// the line, which may be the one with the token.
func withoutContent(err error) error {
	if line := regexp.MustCompile(`line \d+`).FindString(err.Error()); line != "" {
		return fmt.Errorf("%s: is not valid YAML, or has a duplicate key", line)
	}
	return errors.New("is not valid YAML, or has a duplicate key")
}

func hashOf(sum, token string) (hash [sha256.Size]byte, err error) {
	switch {
	case (sum == "") == (token == ""):
		return hash, errors.New("sha256: exactly one of sha256 and token must be set")
	case token != "":
		if len(token) < minToken || len(token) > access.MaxTokenLength || !tokenText.MatchString(token) {
			return hash, fmt.Errorf("token: must be %d to %d bytes of visible ASCII", minToken, access.MaxTokenLength)
		}
		return sha256.Sum256([]byte(token)), nil
	}
	decoded, err := hex.DecodeString(sum)
	if err != nil || len(decoded) != len(hash) {
		return hash, errors.New("sha256: must be 64 hex digits")
	}
	copy(hash[:], decoded)
	return hash, nil
}

func rulesOf(written []documentRule) ([]rule, error) {
	if len(written) > maxRules {
		return nil, fmt.Errorf("allow: must be at most %d, not %d", maxRules, len(written))
	}
	rules := make([]rule, len(written))
	for i, w := range written {
		field := fmt.Sprintf("allow[%d]", i)
		known, ok := access.Rules[w.Resource]
		if !ok && w.Resource != anything {
			return nil, fmt.Errorf("%s.resource: %.40q must be one of %s, or *", field, w.Resource, strings.Join(slices.Sorted(maps.Keys(access.Rules)), ", "))
		}
		if len(w.Verbs) == 0 {
			return nil, fmt.Errorf("%s.verbs: must not be empty", field)
		}
		for j, verb := range w.Verbs {
			if verb != anything && (ok && !slices.Contains(known, verb) || !ok && !slices.Contains(access.Rules[access.Packages], verb)) {
				return nil, fmt.Errorf("%s.verbs[%d]: %.40q is not a verb of %s", field, j, verb, w.Resource)
			}
		}
		if len(w.Names) > maxNames {
			return nil, fmt.Errorf("%s.names: must be at most %d, not %d", field, maxNames, len(w.Names))
		}
		rules[i] = rule{resource: w.Resource, verbs: w.Verbs}
		for j, name := range w.Names {
			if !nameGlob.MatchString(name) {
				return nil, fmt.Errorf("%s.names[%d]: %.130q is not a name, or a pattern with '*' and '?'", field, j, name)
			}
			rules[i].names = append(rules[i].names, routing.Glob(name))
		}
	}
	return rules, nil
}
