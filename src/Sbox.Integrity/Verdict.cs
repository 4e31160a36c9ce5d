namespace Sbox.Integrity;

/// <summary>What a check came to. What could not be checked is never fine.</summary>
public enum Verdict
{
    /// <summary>It was looked at, and is as it should be.</summary>
    Ok,
    /// <summary>It could not be looked at, or nothing says how it should be.</summary>
    Unchecked,
    /// <summary>It is not as it should be.</summary>
    Wrong,
}

/// <summary>Verdicts, for people and programs.</summary>
public static class Verdicts
{
    /// <summary>The word: <c>ok</c>, <c>unchecked</c>, <c>wrong</c>.</summary>
    public static string Word(this Verdict verdict) => verdict switch
    {
        Verdict.Ok => "ok",
        Verdict.Wrong => "wrong",
        _ => "unchecked",
    };

    /// <summary>The exit status: 0 where all is well, 1 where something is wrong, 3 where nothing is but something could not be checked.</summary>
    public static int ExitCode(this Verdict verdict) => verdict switch
    {
        Verdict.Ok => 0,
        Verdict.Wrong => 1,
        _ => 3,
    };

    /// <summary>The worst of several; nothing at all is unchecked.</summary>
    public static Verdict Worst(this IEnumerable<Verdict> verdicts) => verdicts.DefaultIfEmpty(Verdict.Unchecked).Max();
}
