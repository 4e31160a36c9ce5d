namespace Sbox.Image;

/// <summary>What Debian, systemd and libostree accept as names, checked before a long build finds out.</summary>
internal static class RecipeNames
{
    public const string Variants = "'minbase', 'apt', 'essential', 'required', 'important', 'standard' or 'custom'";

    private const string Letters = "abcdefghijklmnopqrstuvwxyz";
    private const string Digits = "0123456789";
    private static readonly string AnyCase = Letters + Letters.ToUpperInvariant() + Digits;

    public static bool IsStateroot(string text) => Made(text, AnyCase + "._-") && text[0] is not ('.' or '-');

    public static bool IsRef(string text) => text.Split('/').All(IsStateroot);

    public static bool IsSuite(string text) => Made(text, Letters + Digits + ".-");

    public static bool IsVariant(string text) =>
        text is "minbase" or "apt" or "essential" or "required" or "important" or "standard" or "custom";

    // Debian policy 5.6.1, an architecture qualifier and '=version' or '/suite' as apt takes them.
    public static bool IsPackage(string text) => Made(text, AnyCase + "+.:=~/-") && char.IsAsciiLetterOrDigit(text[0]);

    public static bool IsUnit(string text) =>
        Made(text, AnyCase + ":-_.\\@") && text.LastIndexOf('.') is var dot && dot > 0 &&
        text[(dot + 1)..] is "service" or "socket" or "target" or "timer" or "path" or "mount" or "automount" or "swap" or "slice" or "device" or "scope";

    public static bool IsUser(string text) => Made(text, Letters + Digits + "_-") && (char.IsAsciiLetterLower(text[0]) || text[0] == '_') && text.Length <= 31;

    public static bool IsUserOrNumber(string text) => IsUser(text) || (text.Length is > 0 and < 10 && !text.AsSpan().ContainsAnyExcept(Digits));

    public static bool IsHostname(string text) => Made(text, AnyCase + ".-") && text.Length <= 63 && text[0] is not ('.' or '-');

    public static bool IsPasswdField(string text) => !text.AsSpan().ContainsAny(":\n\0\"");

    private static bool Made(string text, string of) => text.Length > 0 && !text.AsSpan().ContainsAnyExcept(of);
}
