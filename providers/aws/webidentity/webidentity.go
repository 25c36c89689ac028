package webidentity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// The bounds that STS sets to the life of a token, and what is asked for by default.
const (
	MinLifetime     = time.Minute
	MaxLifetime     = time.Hour
	DefaultLifetime = 15 * time.Minute
)

// Algorithms are the signatures that STS can make. The first is the default.
var Algorithms = []string{"ES384", "RS256"}

// Options say which token to fetch.
type Options struct {
	Audience  string        // whom it is for; the server compares it
	Region    string        // of the STS endpoint; default the SDK's
	Lifetime  time.Duration // default [DefaultLifetime]
	Algorithm string        // default the first of [Algorithms]
}

// Token is a token for one audience.
type Token struct {
	Value  string
	Expiry time.Time
}

// Fetch asks AWS for a token. An error says what helps.
func Fetch(ctx context.Context, o Options) (Token, error) {
	cfg, err := config.LoadDefaultConfig(ctx, func(load *config.LoadOptions) error {
		load.Region = o.Region
		return nil
	})
	if err != nil {
		return Token{}, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return Token{}, errors.New("no AWS region is known, and the global STS endpoint issues no tokens: set AWS_REGION, or name one with --region")
	}
	lifetime := cmp.Or(o.Lifetime, DefaultLifetime)
	out, err := sts.NewFromConfig(cfg).GetWebIdentityToken(ctx, &sts.GetWebIdentityTokenInput{
		Audience:         []string{o.Audience},
		SigningAlgorithm: aws.String(cmp.Or(o.Algorithm, Algorithms[0])),
		DurationSeconds:  aws.Int32(int32(lifetime.Seconds())),
	})
	if err != nil {
		return Token{}, explain(err, cfg.Region)
	}
	if aws.ToString(out.WebIdentityToken) == "" || out.Expiration == nil {
		return Token{}, errors.New("the answer of STS holds no token; is this the endpoint of STS?")
	}
	return Token{Value: *out.WebIdentityToken, Expiry: *out.Expiration}, nil
}

// explain adds what helps to an error of the SDK.
func explain(err error, region string) error {
	api, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		if strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "failed to refresh cached credentials") {
			return fmt.Errorf("no AWS credentials are found: give this process a role, or log in, such as with `aws sso login`: %w", err)
		}
		return fmt.Errorf("STS in %s cannot be reached: see whether the region is right and the network lets this machine through: %w", region, err)
	}
	help := ""
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException":
		help = "allow the role the action sts:GetWebIdentityToken for this audience"
	case "OutboundWebIdentityFederationDisabledException", "OutboundWebIdentityFederationDisabled":
		help = "the account issues no tokens yet: run `aws iam enable-outbound-web-identity-federation` in it once"
	case "ExpiredToken", "ExpiredTokenException":
		help = "the AWS credentials have expired: renew them, such as with `aws sso login`"
	case "RequestExpired", "SignatureDoesNotMatch", "RequestTimeTooSkewed":
		help = "AWS refuses the signature of the request: set the clock of this machine, or look for a wrong secret key"
	case "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure":
		help = "AWS does not know the credentials: see whether they are of another account or partition, or deleted"
	case "RegionDisabledException":
		help = "STS is turned off in region " + region + ": take another with --region"
	case "InvalidAction":
		help = "this STS endpoint issues no tokens, as the global one: name a region with --region"
	}
	if help == "" {
		return fmt.Errorf("STS in %s refuses: %w", region, err)
	}
	return fmt.Errorf("%s (%s: %s)", help, api.ErrorCode(), api.ErrorMessage())
}

// Check returns what is wrong with options, and nil if nothing is.
func (o Options) Check() error {
	switch {
	case strings.TrimSpace(o.Audience) == "":
		return errors.New("name whom the token is for with --audience, as the server's configuration has it")
	case o.Lifetime != 0 && (o.Lifetime < MinLifetime || o.Lifetime > MaxLifetime):
		return fmt.Errorf("--lifetime must be from %s to %s", MinLifetime, MaxLifetime)
	case o.Algorithm != "" && o.Algorithm != Algorithms[0] && o.Algorithm != Algorithms[1]:
		return fmt.Errorf("--algorithm must be %s", strings.Join(Algorithms, " or "))
	}
	return nil
}
