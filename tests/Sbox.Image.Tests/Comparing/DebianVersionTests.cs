using CsCheck;
using Sbox.Judges;

namespace Sbox.Image.Tests;

public sealed class DebianVersionTests
{
    private static readonly string[] Known =
        ["1.0", "1.0-1", "1.0-1+b1", "1.0~rc1-1", "1.0-1+deb13u1", "1:0.9", "1.0.0", "1.00", "1.10", "1.9", "2.41-12", "2.41-12+deb13u1", "1.0+dfsg-1", "1.0a", "1.0-0", "1.0~~", "1.0~", "9223372036854775808-1"];

    private static readonly Gen<string> Any = Gen.Select(
        Gen.OneOf(["", "", "", "1:", "0:"]), Gen.String[Gen.Char["0123456789abzAZ.+~"], 0, 8], Gen.OneOf(["", "", "-1", "-0", "-1+deb13u1", "-2~bpo12+1"]), static (epoch, upstream, revision) => $"{epoch}1{upstream}{revision}");

    [Fact]
    public void Known_versions_are_in_the_order_that_dpkg_has()
    {
        foreach ((string a, string b) in from a in Known from b in Known select (a, b))
            Agree(a, b);
    }

    [Fact]
    public void Any_two_versions_are_in_the_order_that_dpkg_has() =>
        Any.Select(Any).Sample(static pair => Agree(pair.Item1, pair.Item2), iter: 300, threads: 1);

    private static void Agree(string a, string b)
    {
        int ours = Math.Sign(new DebianVersion(a).CompareTo(new DebianVersion(b)));
        int dpkg = Is(a, "lt", b) ? -1 : Is(a, "gt", b) ? 1 : 0;
        Assert.True(ours == dpkg, $"{a} and {b}: dpkg says {dpkg}, we say {ours}");
    }

    private static bool Is(string a, string relation, string b) => Judge.OnPath("dpkg").Ask("--compare-versions", a, relation, b).ExitCode == 0;
}
