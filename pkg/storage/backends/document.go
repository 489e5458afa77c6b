package backends

import (
	"encoding/json"
	"errors"

	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/local"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// Secrets are the values of a Config that a document never contains.
type Secrets struct {
	AccessKey, SecretKey, SessionToken storage.Secret
	// CABundle is PEM. It is not a secret, but comes from the same source.
	CABundle []byte
}

// Document returns the config in JSON without its secrets, for Parse: it is
// passed to another process, or written by a person.
func (c Config) Document() ([]byte, error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(text)
}

// Parse reads a document, in JSON or YAML, and adds the secrets; a folder takes
// none. The Config may be opened, but does not create a place: a folder must
// exist. Errors name the field.
func Parse(text []byte, secrets Secrets) (Config, error) {
	var d struct {
		S3    json.RawMessage `json:"s3"` // decoded separately, so that errors name its fields
		Local *local.Config   `json:"local"`
	}
	if err := yaml.UnmarshalStrict(text, &d); err != nil {
		return Config{}, err
	}
	c := Config{Local: d.Local}
	switch {
	case len(d.S3) == 0 || string(d.S3) == "null":
	case d.S3[0] != '{':
		return Config{}, errors.New("s3: must be an object")
	default:
		c.S3 = &s3.Config{}
		if err := json.Unmarshal(d.S3, c.S3); err != nil {
			return Config{}, under(DriverS3, err)
		}
		c.S3.AccessKey, c.S3.SecretKey, c.S3.SessionToken, c.S3.CABundle = secrets.AccessKey, secrets.SecretKey, secrets.SessionToken, secrets.CABundle
	}
	return c, c.Validate()
}
