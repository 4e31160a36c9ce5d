using Sbox.Store;

// init REPO | commit REPO TREE | pull-local REPO SOURCE | pull REPO URL | prune REPO | summary REPO | fsck REPO
using Repository repository = args[0] == "init" ? Repository.Create(args[1], RepositoryMode.Archive) : Repository.Open(args[1]);
try
{
    switch (args[0])
    {
        case "commit":
            repository.CommitDirectory(args[2], new CommitOptions { Branches = ["main"], Timestamp = DateTimeOffset.UnixEpoch });
            break;
        case "pull-local":
            using (Repository source = Repository.Open(args[2]))
                repository.PullLocal(source);
            break;
        case "pull":
            await repository.Pull(new PullOptions { Url = args[2], Refs = ["main"] });
            break;
        case "prune":
            repository.Prune(new PruneOptions { Depth = 0 });
            break;
        case "init":
            break;
        case "summary":
            repository.WriteSummary();
            break;
        case "fsck":
            FsckReport report = repository.Fsck(new FsckOptions { Delete = true });
            foreach (FsckProblem problem in report.Problems)
                Console.Out.WriteLine($"{problem.Kind} {problem.Subject}");
            return report.IsWhole ? 0 : 1;
        default:
            return 2;
    }

    return 0;
}
catch (Exception failure) when (failure is IOException or RepositoryException)
{
    Console.Error.WriteLine(failure.Message);
    return 1;
}
