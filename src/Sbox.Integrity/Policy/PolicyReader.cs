using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Sbox.Integrity;

/// <summary>Whose a policy file is.</summary>
public enum PolicyOrigin
{
    /// <summary>The sealed tree's: its word counts.</summary>
    Tree,
    /// <summary>The owner's, in /etc: it may ask for more, and for less only where the tree lets it.</summary>
    Owner,
}

/// <summary>Reads policies; sbox-sentinel.d(5) is the reference of their keys.</summary>
public static class PolicyReader
{
    internal static readonly IReadOnlyDictionary<string, FindingKind> FindingNames = Names<FindingKind>();
    internal static readonly IReadOnlyDictionary<string, Severity> SeverityNames = Names<Severity>();
    internal static readonly IReadOnlyDictionary<string, Reaction> ReactionNames = Names<Reaction>();

    /// <summary>The name of a kind of finding, as policies and the journal have it: <c>physical-writable</c>.</summary>
    public static string NameOf(FindingKind kind) => Hyphenated(kind.ToString());

    /// <summary>The name of a reaction.</summary>
    public static string NameOf(Reaction reaction) => Hyphenated(reaction.ToString());

    /// <summary>The name of a severity.</summary>
    public static string NameOf(Severity severity) => Hyphenated(severity.ToString());

    /// <summary>Adds a file to a policy.</summary>
    /// <param name="policy">What was read before.</param>
    /// <param name="file">The file's name, for errors.</param>
    /// <param name="text">Its text.</param>
    /// <param name="origin">Whose it is.</param>
    /// <exception cref="PolicyException">A line says what the sentinel cannot go by, or asks for less than the tree allows.</exception>
    public static SentinelPolicy Read(SentinelPolicy policy, string file, string text, PolicyOrigin origin)
    {
        DocumentSyntax document = SyntaxParser.Parse(text, file, validate: true);
        foreach (DiagnosticMessage message in document.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
                throw new PolicyException(file, message.Span.Start.Line + 1, "", "TOML", message.Message.TrimEnd('.'));
        }

        var top = new PolicyTable(file, "", 1, document.KeyValues);
        bool isSealed = origin == PolicyOrigin.Owner && !policy.MayLoosen;
        if (top.Boolean("may-loosen") is { } may)
        {
            policy = origin == PolicyOrigin.Tree
                ? policy with { MayLoosen = may }
                : throw top.Invalid("may-loosen", "this key in the sealed tree only", "it in the owner's file");
        }

        top.Finish();
        foreach (TableSyntaxBase syntax in document.Tables)
        {
            string name = syntax.Name?.ToString().Trim() ?? "";
            var table = new PolicyTable(file, name, syntax.Span.Start.Line + 1, syntax.Items);
            policy = ReadTable(policy, file, name, syntax is TableArraySyntax, table, isSealed);
            table.Finish();
        }

        return policy;
    }

    private static SentinelPolicy ReadTable(SentinelPolicy policy, string file, string name, bool list, PolicyTable table, bool isSealed) => (name, list) switch
    {
        ("protect", true) => policy with { Protected = [.. policy.Protected, ReadProtected(table)] },
        ("storage", true) => policy with { Storage = [.. policy.Storage, ReadStorage(policy, table, isSealed)] },
        ("allow", true) => isSealed
            ? throw Loosens(file, table, name, "no [[allow]]: the tree does not let its owner loosen what is sealed (may-loosen)")
            : policy with { Allowed = [.. policy.Allowed, ReadAllowance(table)] },
        ("severity", false) => policy with { Severities = ReadSeverities(policy, table, isSealed) },
        ("set-user-id", false) => isSealed
            ? throw Loosens(file, table, name, "no [set-user-id]: the tree does not let its owner loosen what is sealed (may-loosen)")
            : policy with { SetUserIdAllowed = [.. policy.SetUserIdAllowed, .. table.Patterns("allow")] },
        ("test", false) => policy with { TestPath = table.Path("path") ?? policy.TestPath },
        ("reaction.notice" or "reaction.alarm" or "reaction.critical", false) =>
            ReadReaction(policy, SeverityNames[name["reaction.".Length..]], table, isSealed),
        ("protect" or "storage" or "allow", false) => throw new PolicyException(file, table.Line, name, $"[[{name}]], since there can be many", $"[{name}]"),
        ("severity" or "set-user-id" or "test", true) => throw new PolicyException(file, table.Line, name, $"[{name}], since there is one", $"[[{name}]]"),
        _ => throw new PolicyException(
            file, table.Line, name, "[[protect]], [[storage]], [[allow]], [severity], [set-user-id], [test] or [reaction.SEVERITY]", "an unknown table"),
    };

    private static ProtectedPath ReadProtected(PolicyTable table)
    {
        var path = new ProtectedPath(table.Path("path") ?? throw table.Invalid("path", "an absolute path", "nothing"), table.Path("storage")) { Type = table.String("type") };
        return path is { Storage: not null, Type: not null } ? throw table.Invalid("type", "it, or 'storage'", "both") : path;
    }

    private static GuardedStorage ReadStorage(SentinelPolicy policy, PolicyTable table, bool isSealed)
    {
        string mount = table.Path("mount") ?? throw table.Invalid("mount", "an absolute path", "nothing");
        IReadOnlyList<PathPattern> writable = table.Patterns("writable");
        return isSealed && writable.Count > 0 && policy.Storage.Any(storage => storage.Mount == mount)
            ? throw table.Invalid("writable", "nothing that the tree does not allow (may-loosen)", "more of it")
            : new GuardedStorage(mount, writable);
    }

    private static Allowance ReadAllowance(PolicyTable table) => new(
        table.OneOf("finding", FindingNames), table.Pattern("path"), table.Strings("type"), table.Pattern("root"),
        [.. table.Strings("by").Select(path => PathPattern.TryParse(path) is not null ? path : throw table.Invalid("by", "absolute paths of programs", $"'{path}'"))],
        table.Boolean("only-own-namespace") ?? false);

    private static Dictionary<FindingKind, Severity> ReadSeverities(SentinelPolicy policy, PolicyTable table, bool isSealed)
    {
        var severities = new Dictionary<FindingKind, Severity>(policy.Severities);
        foreach (string key in table.Keys)
        {
            if (!FindingNames.TryGetValue(key, out FindingKind kind))
                throw table.Invalid(key, "one of " + string.Join(", ", FindingNames.Keys), "an unknown finding");
            Severity severity = table.OneOf(key, SeverityNames)!.Value;
            if (isSealed && severity < policy.SeverityOf(kind))
                throw table.Invalid(key, $"'{Hyphenated(policy.SeverityOf(kind).ToString())}' or worse (the tree has no may-loosen)", $"'{Hyphenated(severity.ToString())}'");
            severities[kind] = severity;
        }

        return severities;
    }

    private static SentinelPolicy ReadReaction(SentinelPolicy policy, Severity severity, PolicyTable table, bool isSealed)
    {
        Reaction[] steps = [.. table.Strings("do").Select(step => ReactionNames.TryGetValue(step, out Reaction reaction)
            ? reaction
            : throw table.Invalid("do", "some of " + string.Join(", ", ReactionNames.Keys), $"'{step}'"))];
        string? hook = table.Path("hook");
        ReactionPlan before = policy.ReactionTo(severity);
        if (isSealed && before.Do.Except(steps).FirstOrDefault((Reaction)(-1)) is var missing and not (Reaction)(-1))
            throw table.Invalid("do", $"'{Hyphenated(missing.ToString())}' too, which the tree asks for (it has no may-loosen)", "it left out");
        if (steps.Contains(Reaction.Hook) && hook is null && before.Hook is null)
            throw table.Invalid("hook", "the program to start, since 'do' has 'hook'", "nothing");
        return policy with
        {
            Reactions = new Dictionary<Severity, ReactionPlan>(policy.Reactions) { [severity] = new ReactionPlan([.. steps.Distinct()], hook ?? before.Hook) },
        };
    }

    private static PolicyException Loosens(string file, PolicyTable table, string name, string expected) => new(file, table.Line, name, expected, "one");

    private static Dictionary<string, T> Names<T>()
        where T : struct, Enum =>
        Enum.GetValues<T>().ToDictionary(static value => Hyphenated(value.ToString()), static value => value, StringComparer.Ordinal);

    private static string Hyphenated(string name) =>
        string.Concat(name.Select(static (letter, at) => char.IsUpper(letter) ? $"{(at > 0 ? "-" : "")}{char.ToLowerInvariant(letter)}" : $"{letter}"));
}
