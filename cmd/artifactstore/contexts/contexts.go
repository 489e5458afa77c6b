// Package contexts keeps the registries that a user works with, each with how to
// get a token for it, in one file:
//
//	current: prod
//	contexts:
//	- name: prod
//	  server: https://registry.example.com
//	  caFile: /etc/ssl/registry.pem     # if the system does not trust its certificate
//	  tokenFile: /run/secrets/token     # or one of the other fields of a token
//
// Unknown fields are refused. Fields may be added, never changed. Tokens may be in
// the file, so it is for its owner only, and no error shows what is in it.
package contexts

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// File is the content of the file.
type File struct {
	// Current is the context that is used if no other is named; "" for none.
	Current  string    `json:"current,omitempty"`
	Contexts []Context `json:"contexts,omitempty"`
}

// Context is a registry and how to be known there. At most one of the fields of a
// token is set.
type Context struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	// CAFile has the certificates to trust instead of the system's.
	CAFile string `json:"caFile,omitempty"`
	// InsecureToken sends the token over plain http to other machines, too.
	InsecureToken bool `json:"insecureToken,omitempty"`

	// Token is the token itself.
	Token Token `json:"token,omitempty"`
	// TokenFile contains it.
	TokenFile string `json:"tokenFile,omitempty"`
	// TokenCommand is a line for the shell that prints it.
	TokenCommand string `json:"tokenCommand,omitempty"`
	// CredentialHelper keeps it: the program docker-credential-NAME.
	CredentialHelper string `json:"credentialHelper,omitempty"`
	// Kubernetes says for which ServiceAccount kubectl makes it.
	Kubernetes *Kubernetes `json:"kubernetes,omitempty"`
}

// Kubernetes says how kubectl reaches a cluster, and what it makes there. Token of
// the context keeps the last token that it made.
type Kubernetes struct {
	// Context of the kubeconfig; "" is its current one.
	Context string `json:"context,omitempty"`
	// Namespace and name of the ServiceAccount.
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	// Audience of the token, and how long it is valid ("" is what the cluster gives).
	Audience string `json:"audience"`
	Duration string `json:"duration,omitempty"`
	// PortForward: the server is a Service, reached through kubectl port-forward.
	PortForward bool `json:"portForward,omitempty"`
}

// Token is a secret in the file. It prints as ***.
type Token string

// Format writes *** for every verb.
func (Token) Format(f fmt.State, _ rune) { io.WriteString(f, "***") } //nolint:errcheck // fmt reports it

// Find returns the context of that name, nil if there is none.
func (f *File) Find(name string) *Context {
	for i := range f.Contexts {
		if f.Contexts[i].Name == name {
			return &f.Contexts[i]
		}
	}
	return nil
}

// Set adds the context, or replaces the one of that name.
func (f *File) Set(c Context) {
	if there := f.Find(c.Name); there != nil {
		*there = c
		return
	}
	f.Contexts = append(f.Contexts, c)
}

// Remove removes the context, and is false if there is none.
func (f *File) Remove(name string) bool {
	before := len(f.Contexts)
	f.Contexts = slices.DeleteFunc(f.Contexts, func(c Context) bool { return c.Name == name })
	if f.Current == name {
		f.Current = ""
	}
	return len(f.Contexts) < before
}

// Names of the contexts, sorted.
func (f *File) Names() []string {
	names := make([]string, len(f.Contexts))
	for i, c := range f.Contexts {
		names[i] = c.Name
	}
	slices.Sort(names)
	return names
}

var (
	// namePattern includes host:port, which a context is named after.
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9\[][A-Za-z0-9._:@\[\]-]{0,127}$`)
	helperPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	kubePattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// ValidateName checks the name of a context.
func ValidateName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf(`%.130q must be 1 to 128 letters, digits and "._:@-", beginning with a letter or digit`, name)
	}
	return nil
}

// ValidateHelper checks the name of a credential helper.
func ValidateHelper(name string) error {
	if !helperPattern.MatchString(name) {
		return fmt.Errorf(`%.70q must be the name behind docker-credential-, such as "pass"`, name)
	}
	return nil
}

// Validate checks what can be checked without asking anybody.
func (k *Kubernetes) Validate() error {
	for _, field := range []struct{ name, value string }{{"namespace", k.Namespace}, {"serviceAccount", k.ServiceAccount}} {
		if !kubePattern.MatchString(field.value) {
			return fmt.Errorf("%s: %.80q is not a name of Kubernetes", field.name, field.value)
		}
	}
	if k.Audience == "" || strings.HasPrefix(k.Audience, "-") {
		return fmt.Errorf("audience: %.80q is not an audience", k.Audience)
	}
	if strings.HasPrefix(k.Context, "-") {
		return fmt.Errorf("context: %.80q is not a context of a kubeconfig", k.Context)
	}
	if k.Duration == "" {
		return nil
	}
	if d, err := time.ParseDuration(k.Duration); err != nil || d < 10*time.Minute {
		return fmt.Errorf("duration: %.20q must be a duration of at least 10m, such as 8h", k.Duration)
	}
	return nil
}

// sources are the fields of a token that are set. Of Kubernetes Token is a part.
func (c *Context) sources() []string {
	var set []string
	for _, source := range []struct {
		name string
		set  bool
	}{
		{"token", c.Token != "" && c.Kubernetes == nil}, {"tokenFile", c.TokenFile != ""}, {"tokenCommand", c.TokenCommand != ""},
		{"credentialHelper", c.CredentialHelper != ""}, {"kubernetes", c.Kubernetes != nil},
	} {
		if source.set {
			set = append(set, source.name)
		}
	}
	return set
}

// validate names the field that is wrong.
func (f *File) validate() error {
	seen := map[string]bool{}
	for i, c := range f.Contexts {
		wrong := func(field string, err error) error { return fmt.Errorf("contexts[%d].%s: %w", i, field, err) }
		if err := ValidateName(c.Name); err != nil {
			return wrong("name", err)
		}
		if seen[c.Name] {
			return wrong("name", fmt.Errorf("%q is used twice", c.Name))
		}
		seen[c.Name] = true
		if c.Server == "" {
			return wrong("server", errors.New("must not be empty"))
		}
		if set := c.sources(); len(set) > 1 {
			return fmt.Errorf("contexts[%d]: has %s, of which one is allowed", i, strings.Join(set, " and "))
		}
		if c.CredentialHelper != "" {
			if err := ValidateHelper(c.CredentialHelper); err != nil {
				return wrong("credentialHelper", err)
			}
		}
		if c.Kubernetes != nil {
			if err := c.Kubernetes.Validate(); err != nil {
				return wrong("kubernetes", err)
			}
		}
	}
	if f.Current != "" && !seen[f.Current] {
		return fmt.Errorf("current: there is no context %q", f.Current)
	}
	return nil
}

// parse reads the content. Its errors show no values, which may be tokens.
func parse(content []byte) (*File, error) {
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		if line := lineNumber.FindString(err.Error()); line != "" {
			return nil, fmt.Errorf("%s: is not valid YAML, or has a duplicate key", line)
		}
		return nil, errors.New("is not valid YAML, or has a duplicate key")
	}
	file := new(File)
	strict, err := json.UnmarshalStrict(asJSON, file)
	if err := errors.Join(append(strict, err)...); err != nil {
		return nil, err
	}
	return file, file.validate()
}

var lineNumber = regexp.MustCompile(`line \d+`)

const header = "# Written by artifactstore login and artifactstore context, which keep no comments.\n"

func (f *File) encode() ([]byte, error) {
	text, err := yaml.Marshal(f)
	return append([]byte(header), text...), err
}

// Path of the file: ARTIFACTSTORE_CONFIG, or where configurations are by the XDG
// Base Directory Specification. "" if there is no home folder.
func Path(getenv func(string) string) string {
	if path := getenv(Env); path != "" {
		return path
	}
	folder := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(folder) { // which the specification has ignored
		folder = ""
	}
	if home := getenv("HOME"); folder == "" && home != "" {
		folder = filepath.Join(home, ".config")
	}
	if folder == "" && runtime.GOOS == "windows" {
		folder = getenv("AppData")
	}
	if folder == "" {
		return ""
	}
	return filepath.Join(folder, "artifactstore", "config.yaml")
}

// Env names the variable that has the file's path.
const Env = "ARTIFACTSTORE_CONFIG"
